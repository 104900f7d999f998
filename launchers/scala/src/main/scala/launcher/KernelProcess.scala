package launcher

import java.io.{BufferedReader, File, IOException, InputStreamReader}
import java.lang.ProcessBuilder.Redirect
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.Path

import scala.collection.JavaConverters._

/** The process that is the kernel: spark-submit, which becomes a JVM with Apache Toree in it.
  *
  * It leads a session and a process group of its own, as jupyter_client starts a local kernel, so
  * that a signal reaches its child processes as well. Two pipes connect it with this process: its
  * standard input carries commands, and ends when the launcher has ended; on file descriptor 3 the
  * kernel reports that its channels are up. Its output goes to the container's log.
  */
final class KernelProcess private (process: Process) {

  /** Its number, and its group's. */
  val pid: Long = process.pid

  private val commands = process.getOutputStream
  @volatile private var ready = false

  /** Waits until the kernel is up; false when it has ended instead. */
  def awaitReady(): Boolean = {
    val output = new BufferedReader(new InputStreamReader(process.getInputStream, UTF_8))
    ready = output.readLine() == KernelProcess.Ready
    ready
  }

  def isAlive: Boolean = process.isAlive

  /** Waits for its end; returns its exit code, 128 + n when signal n ended it. */
  def waitFor(): Int = process.waitFor()

  /** Interrupts the current cell; has no effect before the kernel is up. */
  def interrupt(): Unit =
    if (ready) {
      try {
        commands.write('\n')
        commands.flush()
      } catch { case _: IOException => } // it has just ended
    }

  /** Signals the kernel and its child processes; false when the kernel has ended. */
  def signal(number: Int): Boolean =
    process.isAlive && {
      kill(number)
      true
    }

  /** Kills the child processes that the kernel left behind. */
  def endGroup(): Unit = kill(9)

  // A JVM cannot send signals; the shell that bootstrap-kernel.sh runs in can.
  private def kill(number: Int): Unit = {
    val script = "kill -\"$0\" -- \"-$1\" || kill -\"$0\" -- \"$1\"" // right after the fork there is no group
    val command = Seq("bash", "-c", script, number.toString, pid.toString)
    val killer = new ProcessBuilder(command.asJava)
    killer.redirectOutput(Redirect.DISCARD).redirectError(Redirect.DISCARD)
    killer.start().waitFor()
    ()
  }
}

object KernelProcess {

  /** The line that the kernel writes when it is up. */
  val Ready = "ready"

  private val Main = "launcher.kernel.ToreeKernel"
  // Toree searches its own jar for magics. Messages are UTF-8, whatever the locale.
  private val JavaOptions = "-Dfile.encoding=UTF-8 --add-opens=java.base/java.util.jar=ALL-UNNAMED"

  /** Starts the kernel.
    *
    * @param connectionFile the kernel's ports and key
    */
  def start(options: Options, connectionFile: Path, environment: Map[String, String]): KernelProcess = {
    val submit = sparkSubmit(environment)
    if (!new File(options.toreeAssembly).canRead) {
      throw new LaunchError(
        LaunchError.NoRuntime,
        s"Apache Toree is not in this image: --toree-assembly is '${options.toreeAssembly}'"
      )
    }
    val here = new File(getClass.getProtectionDomain.getCodeSource.getLocation.toURI)
    val name = s"${options.userName}-${options.kernelId}"
    val command =
      Seq("bash", "-c", "exec setsid \"$@\" 3>&1 >&2", "launcher", submit.getPath) ++
        Seq("--conf", s"spark.app.name=$name") ++ // not --name, which would win over the user's --conf
        Seq("--jars", options.toreeAssembly) ++ options.sparkOptions ++
        Seq("--class", Main, here.getPath, connectionFile.toString, options.initMode)
    val builder = new ProcessBuilder(command.asJava).redirectError(Redirect.INHERIT)
    Options.PrivateVariables.foreach(builder.environment.remove)
    val javaOptions = JavaOptions +: environment.get("SPARK_SUBMIT_OPTS").filter(_.nonEmpty).toSeq
    builder.environment.put("SPARK_SUBMIT_OPTS", javaOptions.mkString(" "))
    try new KernelProcess(builder.start())
    catch {
      case error: IOException =>
        throw LaunchError.launchFailed(
          s"no process can be started for the kernel: ${error.getMessage}"
        )
    }
  }

  private def sparkSubmit(environment: Map[String, String]): File = {
    val home = environment.getOrElse("SPARK_HOME", "")
    val submit = new File(home, "bin/spark-submit")
    if (home.isEmpty || !submit.canExecute) {
      throw new LaunchError(
        LaunchError.NoRuntime,
        s"Apache Spark is not in this image: SPARK_HOME is '$home' and has no bin/spark-submit"
      )
    }
    submit
  }
}
