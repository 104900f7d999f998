package launcher

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Paths}
import java.security.KeyFactory
import java.security.interfaces.RSAPrivateCrtKey
import java.security.spec.{PKCS8EncodedKeySpec, RSAPublicKeySpec}
import java.util.Base64
import javax.crypto.Cipher
import javax.crypto.spec.SecretKeySpec

import scala.collection.JavaConverters._

import com.grack.nanojson.{JsonArray, JsonObject, JsonParser}
import org.junit.Assert.{assertArrayEquals, assertEquals, assertThrows, assertTrue}
import org.junit.Test

/** The golden vectors of launchers/protocol, all that concern a launcher. */
class VectorsTest {
  private val vectors = read("vectors.json")
  private val captured = read("captured-gateway-provisioners-0.5.0.json")
  private val keys = read("test-keys.json")

  @Test def derivesKeys(): Unit =
    entries(vectors, "derived_keys").foreach { entry =>
      val key = launchKey(entry)
      assertArrayEquals(bytes(entry, "connection_info"), key.derive("connection-info"))
      assertArrayEquals(bytes(entry, "command"), key.derive("command"))
      assertArrayEquals(bytes(entry, "mailbox"), key.derive("mailbox"))
    }

  @Test def writesReportsOfVersion2(): Unit =
    reports(2).foreach { entry =>
      val blob = launchKey(entry, bytes(entry, "nonce")).report(text(entry, "plaintext"))
      assertEquals(entry.getString("name"), unpack(entry.getString("blob").getBytes), unpack(blob))
      assertEquals(entry.getString("ciphertext"), unpack(blob).getString("ciphertext"))
    }

  @Test def writesReportsOfVersion1(): Unit =
    reports(1).foreach { entry =>
      val privateKey = rsaKey(entry.getString("rsa_key"))
      val aesKey = Option(entry.getString("aes_key")).map(Base64.getDecoder.decode)
      val random = aesKey.fold(Wire.randomBytes _)(key => (_: Int) => key)
      val blob = new GatewayKey(publicKey(privateKey), random).report(text(entry, "plaintext"))
      val envelope = unpack(blob)
      if (aesKey.isDefined) {
        assertEquals(entry.getString("encrypted"), envelope.getString("conn_info"))
      }
      assertArrayEquals(text(entry, "plaintext"), decrypt(envelope, privateKey))
    }

  @Test def readsCommands(): Unit =
    entries(vectors, "commands").foreach { entry =>
      val challenge = entry.getString("challenge")
      assertEquals(parse(text(entry, "challenge_line")), parse(Wire.challengeLine(challenge)))
      val command = launchKey(entry).openCommand(text(entry, "line"), challenge)
      assertEquals(entry.getObject("message"), command)
    }

  @Test def readsCommandsOfVersion1(): Unit = {
    val commands = captured.getArray("commands").asScala.map(_.toString)
    assertTrue(commands.nonEmpty)
    commands.foreach { command =>
      assertEquals(1, Wire.parse(command.getBytes(UTF_8)).size)
    }
  }

  @Test def writesReplies(): Unit =
    entries(vectors, "replies").foreach { entry =>
      val key = launchKey(entry, bytes(entry, "nonce"))
      val line = key.reply(text(entry, "plaintext"), entry.getString("challenge"))
      assertEquals(parse(text(entry, "line")), parse(line))
      assertEquals('\n', line.last.toChar)
    }

  @Test def rejectsInvalidCommands(): Unit = {
    val invalid = vectors.getObject("invalid_commands")
    val key = launchKey(invalid)
    val lines = invalid.getObject("lines").asScala
    assertTrue(lines.nonEmpty)
    lines.foreach { case (name, line) =>
      assertThrows(
        name,
        classOf[WireError],
        () => { key.openCommand(line.toString.getBytes(UTF_8), invalid.getString("challenge")); () }
      )
    }
  }

  @Test def acceptsValidKernelIdsOnly(): Unit = {
    val ids = vectors.getObject("kernel_ids")
    val key = Base64.getEncoder.encodeToString(new Array[Byte](32))
    def parse(id: String): Options =
      Options.parse(Seq("--kernel-id", id, "--response-address", "a:1"), Map("KERNEL_LAUNCH_KEY" -> key))
    ids.getArray("valid").asScala.foreach(id => assertEquals(id, parse(id.toString).kernelId))
    ids.getArray("invalid").asScala.foreach { id =>
      assertThrows(id.toString, classOf[LaunchError], () => { parse(id.toString); () })
    }
  }

  private def reports(version: Int): Seq[JsonObject] = {
    val all = entries(vectors, "reports") ++ entries(captured, "reports")
    val chosen = all.filter(_.getInt("version") == version)
    assertTrue(chosen.nonEmpty)
    chosen
  }

  private def read(name: String): JsonObject =
    parse(Files.readAllBytes(Paths.get("../protocol", name)))

  private def parse(data: Array[Byte]): JsonObject =
    JsonParser.`object`().from(new String(data, UTF_8))

  private def entries(from: JsonObject, name: String): Seq[JsonObject] =
    from.get(name).asInstanceOf[JsonArray].asScala.map(_.asInstanceOf[JsonObject]).toList

  private def text(entry: JsonObject, name: String): Array[Byte] =
    entry.getString(name).getBytes(UTF_8)

  private def bytes(entry: JsonObject, name: String): Array[Byte] =
    Base64.getDecoder.decode(entry.getString(name))

  private def unpack(blob: Array[Byte]): JsonObject = parse(Base64.getDecoder.decode(blob))

  private def launchKey(entry: JsonObject, nonce: Array[Byte] = Array.empty): LaunchKey =
    new LaunchKey(bytes(entry, "launch_key"), entry.getString("kernel_id"), _ => nonce)

  private def rsaKey(name: String): RSAPrivateCrtKey =
    KeyFactory
      .getInstance("RSA")
      .generatePrivate(new PKCS8EncodedKeySpec(bytes(keys, name)))
      .asInstanceOf[RSAPrivateCrtKey]

  private def publicKey(key: RSAPrivateCrtKey): String = {
    val spec = new RSAPublicKeySpec(key.getModulus, key.getPublicExponent)
    Base64.getEncoder.encodeToString(
      KeyFactory.getInstance("RSA").generatePublic(spec).getEncoded
    )
  }

  private def decrypt(envelope: JsonObject, key: RSAPrivateCrtKey): Array[Byte] = {
    val rsa = Cipher.getInstance("RSA/ECB/PKCS1Padding")
    rsa.init(Cipher.DECRYPT_MODE, key)
    val aesKey = rsa.doFinal(bytes(envelope, "key"))
    val aes = Cipher.getInstance("AES/ECB/PKCS5Padding")
    aes.init(Cipher.DECRYPT_MODE, new SecretKeySpec(aesKey, "AES"))
    aes.doFinal(bytes(envelope, "conn_info"))
  }
}
