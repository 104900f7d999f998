package launcher.kernel

import java.io.{FileOutputStream, InputStream}
import java.nio.charset.StandardCharsets.US_ASCII

import akka.actor.ActorSystem
import com.typesafe.config.{Config, ConfigValueFactory}
import org.apache.logging.log4j.Level
import org.apache.logging.log4j.core.config.Configurator
import org.apache.toree.boot.layer._
import org.apache.toree.boot.{CommandLineOptions, KernelBootstrap}
import org.apache.toree.interpreter.{Interpreter => ToreeInterpreter}
import org.apache.toree.kernel.protocol.v5.kernel.ActorLoader

import launcher.{KernelProcess, LaunchError}

import scala.collection.JavaConverters._

/** The kernel's process: Apache Toree, with the launcher at the other end of two pipes. */
object ToreeKernel {

  def main(arguments: Array[String]): Unit = {
    val Array(connectionFile, initMode) = arguments
    // Commands are for this class, not for users' code.
    val commands = System.in
    System.setIn(InputStream.nullInputStream())
    // Toree would log the key of the channels, and a warning for each cell without output.
    Seq("org.apache.toree", getClass.getPackage.getName).foreach(Configurator.setLevel(_, Level.ERROR))
    try {
      val kernel = start(config(connectionFile, initMode), commands)
      val ready = new FileOutputStream("/dev/fd/3")
      ready.write(s"${KernelProcess.Ready}\n".getBytes(US_ASCII))
      ready.close()
      kernel.waitForTermination()
      ()
    } catch {
      case error: Throwable => // any failure of Toree or Spark
        error.printStackTrace()
        System.err.println(
          s"toree-launcher: the kernel could not be started: ${error.getClass.getName}"
        )
        Runtime.getRuntime.halt(LaunchError.LaunchFailed)
    }
  }

  private def config(connectionFile: String, initMode: String): Config = {
    val options =
      Seq("--profile", connectionFile, "--spark-context-initialization-mode", initMode)
    val interpreters = Seq(
      s"Scala:${classOf[Interpreter].getName}",
      "SQL:org.apache.toree.kernel.interpreter.sql.SqlInterpreter"
    )
    new CommandLineOptions(options).toConfig
      .withValue("default_interpreter_plugin", ConfigValueFactory.fromIterable(interpreters.asJava))
  }

  private def start(config: Config, commands: InputStream): KernelBootstrap = {
    val kernel = new KernelBootstrap(config)
      with StandardBareInitialization
      with StandardComponentInitialization
      with StandardHandlerInitialization
      with StandardHookInitialization {
      override protected def createActorLoader(actorSystem: ActorSystem): ActorLoader =
        new OrderedOutput(actorSystem)

      override def initializeHooks(config: Config, interpreter: ToreeInterpreter): Unit =
        obey(commands, interpreter)
    }
    kernel.initialize()
  }

  /** Interrupts at each byte from the launcher, and ends when the launcher has ended. */
  private def obey(commands: InputStream, interpreter: ToreeInterpreter): Unit = {
    val thread = new Thread(
      () => {
        while (commands.read() >= 0) {
          interpreter.interrupt()
          commands.skip(commands.available.toLong) // of users who interrupt the same cell again
        }
        Runtime.getRuntime.halt(128 + 9)
      },
      "launcher"
    )
    thread.setDaemon(true)
    thread.start()
  }
}
