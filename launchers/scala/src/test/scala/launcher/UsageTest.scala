package launcher

import java.io.File
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Paths}

import scala.collection.JavaConverters._

import com.grack.nanojson.{JsonObject, JsonParser}
import org.junit.Assert.{assertEquals, assertFalse, assertTrue}
import org.junit.{Rule, Test}
import org.junit.rules.TemporaryFolder

/** The usage that is read from recorded cgroups. */
class UsageTest {
  private val folder = new TemporaryFolder
  @Rule def temporary: TemporaryFolder = folder

  private val Fields = Seq("memory", "memory_limit", "cpu", "cpu_limit")

  @Test def recordedFiles(): Unit = {
    val text = new String(Files.readAllBytes(Paths.get("../protocol/cgroups.json")), UTF_8)
    val trees = JsonParser.`object`().from(text).getArray("trees").asScala.map(_.asInstanceOf[JsonObject])
    assertFalse(trees.isEmpty)
    trees.foreach { tree =>
      val name = tree.getString("name")
      val expected = Option(tree.getObject("usage"))
      val found = new Usage(laidOut(tree.getObject("files"))).read()
      assertEquals(name, expected.isDefined, found.isDefined)
      for (wanted <- expected; usage <- found; field <- Fields) {
        assertTrue(name, usage.containsKey(field))
        assertEquals(s"$name: $field", wanted.isNull(field), usage.isNull(field))
        assertEquals(s"$name: $field", wanted.getDouble(field), usage.getDouble(field), 1e-6)
      }
    }
  }

  @Test def wholeNumbersOfBytes(): Unit = {
    val current = "sys/fs/cgroup/memory.current" -> "999999999999999\n"
    val stat = "sys/fs/cgroup/memory.stat" -> "inactive_file 0\n"
    val mounts = "proc/self/mountinfo" -> "9 8 0:30 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    val files = new JsonObject
    Seq("proc/self/cgroup" -> "0::/\n", mounts, current, stat).foreach { case (name, content) =>
      files.put(name, content)
    }
    val json = new String(Wire.json(new Usage(laidOut(files)).read().get), UTF_8)
    assertTrue(json, json.contains("\"memory\":999999999999999,"))
    assertTrue(json, json.contains("\"cpu\":null"))
  }

  private def laidOut(files: JsonObject): File = {
    val root = folder.newFolder()
    files.asScala.foreach { case (name, text) =>
      val file = new File(root, name)
      file.getParentFile.mkdirs()
      Files.write(file.toPath, text.toString.getBytes(UTF_8))
    }
    root
  }
}
