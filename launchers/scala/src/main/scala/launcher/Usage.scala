package launcher

import java.io.{File, FileInputStream, IOException}
import java.nio.charset.StandardCharsets.UTF_8

import scala.util.matching.Regex

import com.grack.nanojson.JsonObject

import launcher.Usage._

/** Memory and CPU of the container that the launcher runs in, as its cgroup counts them (cgroups(7)).
  *
  * @param root the folder that holds proc and sys
  */
final class Usage(root: File = new File("/")) {

  /** Reads the content of `usage` in the answer to `{"usage": 1}`; None if neither the memory nor the CPU
    * time can be read.
    */
  def read(): Option[JsonObject] = {
    val memory = cgroup("memory")
    val accounting = cgroup("cpuacct")
    val (used, limit, cache) =
      if (memory.unified)
        ("memory.current", "memory.max", "inactive_file")
      else
        ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
    val workingSet = bounded(
      for (bytes <- memory.number(used); cached <- memory.number("memory.stat", cache))
        yield math.max(bytes - cached, 0)
    )
    val seconds =
      if (accounting.unified) accounting.number("cpu.stat", "usage_usec").map(_ / 1e6)
      else accounting.number("cpuacct.usage").map(_ / 1e9)
    if (workingSet.isEmpty && seconds.isEmpty) None
    else {
      val usage = new JsonObject
      usage.put("memory", workingSet.orNull)
      usage.put("memory_limit", bounded(memory.number(limit)).orNull)
      usage.put("cpu", seconds.map(Double.box).orNull)
      usage.put("cpu_limit", cores(cgroup("cpu")).map(Double.box).orNull)
      Some(usage)
    }
  }

  /** Returns None for no limit, which version 1 writes as a number close to 2^63. */
  private def bounded(bytes: Option[Double]): Option[java.lang.Long] =
    bytes.filter(_ <= Largest).map(value => Long.box(value.toLong))

  private def cores(cpu: Cgroup): Option[Double] = {
    val (quota, period) =
      if (cpu.unified)
        (cpu.number("cpu.max", after = " [0-9]{1,20}"), cpu.number("cpu.max", "[0-9]{1,20}"))
      else
        (cpu.number("cpu.cfs_quota_us"), cpu.number("cpu.cfs_period_us"))
    for (share <- quota if share > 0; whole <- period if whole > 0) yield share / whole
  }

  /** Finds the launcher's cgroup: of version 1 if one of its hierarchies has the controller, else of 2. */
  private def cgroup(controller: String): Cgroup = {
    val paths = lines(new File(root, "proc/self/cgroup")).map(_.split(":", 3)).collect {
      case Array(_, controllers, path) => controllers.split(",").map(_ -> path)
    }.flatten.toMap
    val unified = !paths.contains(controller)
    val hierarchy = if (unified) "" else controller
    new Cgroup(paths.get(hierarchy).flatMap(directory(hierarchy, _)), unified)
  }

  /** Finds the folder of a cgroup, in a mount of its hierarchy that shows it.
    *
    * @param controller one of a version 1 hierarchy; "" for version 2
    * @param path as in /proc/self/cgroup
    */
  private def directory(controller: String, path: String): Option[File] =
    if (path.split("/").contains("..")) None // outside of this cgroup namespace
    else {
      val kind = if (controller.isEmpty) "cgroup2" else "cgroup"
      val folders = lines(new File(root, "proc/self/mountinfo")).collect {
        case Mount(shown, folder, `kind`, options)
            if controller.isEmpty || options.split(",").contains(controller) =>
          val prefix = unescaped(shown).stripSuffix("/")
          val below = path.stripPrefix(prefix)
          if (path.startsWith(prefix) && (below.isEmpty || below.startsWith("/")))
            Some(new File(root, unescaped(folder) + below))
          else None
      }
      folders.flatten.find(_.isDirectory)
    }
}

private object Usage {
  val LongestFile: Int = 1 << 20
  val Largest = 999999999999999L // bytes; JSON keeps whole numbers of 15 digits exact in every language

  /** A line of proc_pid_mountinfo(5): its root, its folder, the type and the options of the file system. */
  private val Mount = """\S+ \S+ \S+ (\S+) (\S+) .*- (\S+) \S+ (\S+)""".r
  private val Escaped = """\\([0-7]{3})""".r

  /** The launcher's cgroup in one hierarchy; without a directory where none can be seen.
    *
    * @param unified whether the hierarchy is of version 2
    */
  private final class Cgroup(directory: Option[File], val unified: Boolean) {

    /** Returns the number that a line of a file holds, between `key` and `after`. */
    def number(file: String, key: String = "", after: String = ""): Option[Double] = {
      val line = s"$key ?([0-9]{1,20})$after".r
      directory.toSeq.flatMap(found => lines(new File(found, file))).collectFirst {
        case line(digits) => digits.toDouble
      }
    }
  }

  /** Returns a field of mountinfo with spaces, tabs, line ends and backslashes as themselves. */
  private def unescaped(field: String): String =
    Escaped.replaceAllIn(
      field,
      escaped => Regex.quoteReplacement(Integer.parseInt(escaped.group(1), 8).toChar.toString)
    )

  /** Returns the lines of a file, none if it cannot be read. */
  private def lines(file: File): Seq[String] =
    try {
      val input = new FileInputStream(file)
      try new String(input.readNBytes(LongestFile), UTF_8).split("\n").toSeq
      finally input.close()
    } catch { case _: IOException => Seq.empty }
}
