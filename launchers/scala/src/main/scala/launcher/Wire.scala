package launcher

import java.nio.charset.StandardCharsets.UTF_8
import java.security.{GeneralSecurityException, KeyFactory, SecureRandom}
import java.security.interfaces.RSAPublicKey
import java.security.spec.X509EncodedKeySpec
import java.util.Base64
import javax.crypto.{Cipher, Mac}
import javax.crypto.spec.{GCMParameterSpec, SecretKeySpec}

import com.grack.nanojson.{JsonObject, JsonParser, JsonParserException, JsonWriter}

import launcher.Wire.{decode, encode, json, parse, randomBytes}

/** The peer's bytes do not follow the protocol; never quotes them. */
final class WireError extends Exception

/** Encrypts the connection info for the gateway. */
sealed trait ReportKey {

  /** Makes the blob for the response server; `info` is a JSON object in UTF-8. */
  def report(info: Array[Byte]): Array[Byte]
}

/** Seals and opens messages of version 2 with a launch's secret, or with the fresh key that replaces it.
  *
  * @param secret 32 bytes that only the gateway and this launch know
  * @param kernelId binds sealed messages to this kernel
  */
final class LaunchKey(
    secret: Array[Byte],
    kernelId: String,
    random: Int => Array[Byte] = randomBytes
) extends ReportKey {
  private val commandKey = derive("command")

  def report(info: Array[Byte]): Array[Byte] = {
    val envelope = new JsonObject
    envelope.put("version", Int.box(2))
    envelope.put("kernel_id", kernelId)
    seal(envelope, derive("connection-info"), s"connection-info $kernelId", info)
    Base64.getEncoder.encode(json(envelope))
  }

  /** Authenticates the gateway's answer to `challenge`.
    *
    * Throws a WireError when it was not sealed with this launch's key for this challenge, or is not
    * JSON.
    */
  def openCommand(line: Array[Byte], challenge: String): JsonObject = {
    val envelope = parse(line)
    if (envelope.get("version") != 2) throw new WireError
    val nonce = decode(envelope.get("nonce"))
    val ciphertext = decode(envelope.get("ciphertext"))
    if (nonce.length != LaunchKey.NonceBytes) throw new WireError
    val cipher =
      gcm(Cipher.DECRYPT_MODE, commandKey, nonce, s"command $kernelId $challenge")
    val plain =
      try cipher.doFinal(ciphertext)
      catch { case _: GeneralSecurityException => throw new WireError }
    parse(plain)
  }

  /** Seals the answer to a command, as one line. */
  def reply(answer: Array[Byte], challenge: String): Array[Byte] = {
    val envelope = new JsonObject
    envelope.put("version", Int.box(2))
    seal(envelope, commandKey, s"reply $kernelId $challenge", answer)
    json(envelope) :+ '\n'.toByte
  }

  private[launcher] def derive(purpose: String): Array[Byte] =
    Wire.hkdf(secret, kernelId.getBytes(UTF_8), (LaunchKey.Context + purpose).getBytes(UTF_8))

  private def seal(
      envelope: JsonObject,
      key: Array[Byte],
      purpose: String,
      message: Array[Byte]
  ): Unit = {
    val nonce = random(LaunchKey.NonceBytes)
    envelope.put("nonce", encode(nonce))
    val cipher = gcm(Cipher.ENCRYPT_MODE, key, nonce, purpose)
    envelope.put("ciphertext", encode(cipher.doFinal(message)))
    ()
  }

  private def gcm(mode: Int, key: Array[Byte], nonce: Array[Byte], purpose: String): Cipher = {
    val cipher = Cipher.getInstance("AES/GCM/NoPadding")
    cipher.init(mode, new SecretKeySpec(key, "AES"), new GCMParameterSpec(128, nonce))
    cipher.updateAAD((LaunchKey.Context + purpose).getBytes(UTF_8))
    cipher
  }
}

object LaunchKey {
  private val Context = "gateway-provisioners v2 "
  private val NonceBytes = 12
}

/** Encrypts reports of version 1 with the gateway's public key. That version prescribes RSA PKCS#1
  * v1.5 around a fresh key for AES-128-ECB.
  */
final class GatewayKey(publicKey: String, random: Int => Array[Byte] = randomBytes)
    extends ReportKey {
  private val key =
    try {
      val der = new X509EncodedKeySpec(Base64.getDecoder.decode(publicKey))
      KeyFactory.getInstance("RSA").generatePublic(der).asInstanceOf[RSAPublicKey]
    } catch {
      case _: GeneralSecurityException =>
        throw LaunchError.badParameter("--public-key (PUBLIC_KEY) cannot be read as an RSA key")
    }

  def report(info: Array[Byte]): Array[Byte] = {
    val aesKey = random(16)
    val rsa = Cipher.getInstance("RSA/ECB/PKCS1Padding")
    rsa.init(Cipher.ENCRYPT_MODE, key)
    val aes = Cipher.getInstance("AES/ECB/PKCS5Padding")
    aes.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(aesKey, "AES"))
    val envelope = new JsonObject
    envelope.put("version", Int.box(1))
    envelope.put("key", encode(rsa.doFinal(aesKey)))
    envelope.put("conn_info", encode(aes.doFinal(info)))
    Base64.getEncoder.encode(json(envelope))
  }
}

/** The launcher's side of the wire protocol: bytes out and in, no sockets (protocol/SPEC.md). */
object Wire {
  private val Random = new SecureRandom

  def randomBytes(count: Int): Array[Byte] = {
    val bytes = new Array[Byte](count)
    Random.nextBytes(bytes)
    bytes
  }

  /** Makes a value that no command was ever sealed for. */
  def newChallenge(): String = encode(randomBytes(16))

  /** Makes the launcher's first line on a command connection of version 2. */
  def challengeLine(challenge: String): Array[Byte] = {
    val line = new JsonObject
    line.put("version", Int.box(2))
    line.put("challenge", challenge)
    json(line) :+ '\n'.toByte
  }

  /** Reads one JSON object; throws a WireError if `data` is not one. */
  def parse(data: Array[Byte]): JsonObject =
    try JsonParser.`object`().from(new String(data, UTF_8))
    catch { case _: JsonParserException | _: StackOverflowError => throw new WireError }

  def json(value: JsonObject): Array[Byte] = JsonWriter.string(value).getBytes(UTF_8)

  /** HKDF-SHA256 (RFC 5869) for one block of output, 32 bytes. */
  private[launcher] def hkdf(secret: Array[Byte], salt: Array[Byte], info: Array[Byte]) = {
    def hmac(key: Array[Byte], data: Array[Byte]): Array[Byte] = {
      val mac = Mac.getInstance("HmacSHA256")
      mac.init(new SecretKeySpec(key, "HmacSHA256"))
      mac.doFinal(data)
    }
    hmac(hmac(salt, secret), info :+ 1.toByte)
  }

  private[launcher] def encode(data: Array[Byte]): String = Base64.getEncoder.encodeToString(data)

  private[launcher] def decode(value: Any): Array[Byte] = value match {
    case text: String =>
      try Base64.getDecoder.decode(text)
      catch { case _: IllegalArgumentException => throw new WireError }
    case _ => throw new WireError
  }
}
