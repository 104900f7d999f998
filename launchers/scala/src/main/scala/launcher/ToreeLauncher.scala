package launcher

import java.io.IOException
import java.net.{InetAddress, InetSocketAddress}
import java.nio.channels.{ServerSocketChannel, SocketChannel}
import java.nio.file.attribute.PosixFilePermissions
import java.nio.file.{Files, Path}
import java.util.concurrent.atomic.AtomicReference

import com.grack.nanojson.{JsonArray, JsonObject}
import sun.misc.Signal

/** Supervises the kernel and answers the gateway.
  *
  * It is not the kernel: code that holds the kernel's JVM, fills its memory or ends it cannot keep
  * the gateway's commands from being carried out, and the launch key is neither in the environment
  * nor in the memory of the process that runs users' code. It passes signals on, and ends with the
  * kernel's exit code.
  */
object ToreeLauncher {
  val Channels: Seq[String] =
    Seq("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")

  def main(arguments: Array[String]): Unit = {
    val code =
      try launch(Options.parse(arguments, sys.env))
      catch {
        case error: LaunchError =>
          say(error.getMessage)
          error.exitCode
      }
    Runtime.getRuntime.halt(code) // even if threads are running
  }

  private def launch(options: Options): Int = {
    val key = options.launchKey.map(new LaunchKey(_, options.kernelId))
    val reportKey = key.getOrElse(new GatewayKey(options.publicKey))
    val commands = Ports.listen(options.portRange, CommandListener.MaxConnections)
    val reserved = Ports.reserve(options.portRange, Channels.size)
    val directory =
      try Files.createTempDirectory("kernel-") // for this user alone
      catch {
        case error: IOException =>
          throw LaunchError.launchFailed(s"no directory can be made for the connection file: $error")
      }
    try {
      val info = connectionInfo(options, reserved)
      val file = writeConnectionFile(directory, options.kernelId, info)
      val kernel = KernelProcess.start(options, file, sys.env)
      // Made here, so that it is in no environment.
      val freshKey = options.launchKey.filter(_ => options.freshKeyOffered).map { _ =>
        Wire.randomBytes(Options.LaunchKeyBytes)
      }
      val commandKey = freshKey.map(new LaunchKey(_, options.kernelId)).orElse(key)
      new Supervisor(options, kernel, commands, commandKey).run { () =>
        checkChannels(info)
        reserved.foreach(_.close())
        info.put("kernel_id", options.kernelId)
        info.put("pid", Long.box(kernel.pid))
        info.put("pgid", Long.box(kernel.pid))
        info.put("comm_port", Int.box(Ports.number(commands)))
        if (key.isDefined) {
          info.put("protocol", Int.box(2))
          val features = new JsonArray // neither a mailbox nor the command `state`
          features.add("usage")
          freshKey.foreach { secret =>
            features.add(Options.FreshKey)
            info.put("fresh_key", Wire.encode(secret))
          }
          info.put("features", features)
        }
        Reporting.report(options, reportKey, info)
      }
    } finally delete(directory)
  }

  private def connectionInfo(options: Options, reserved: Seq[SocketChannel]): JsonObject = {
    val info = new JsonObject
    Channels.zip(reserved.map(Ports.number)).foreach { case (name, port) =>
      info.put(name, Int.box(port))
    }
    info.put("ip", Ports.AnyAddress)
    info.put("transport", "tcp")
    info.put("signature_scheme", "hmac-sha256")
    info.put("key", Wire.randomBytes(32).map(byte => f"${byte & 0xff}%02x").mkString)
    info.put("kernel_name", options.kernelName)
    info
  }

  private def writeConnectionFile(directory: Path, kernelId: String, info: JsonObject): Path = {
    val owner = PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"))
    val file = Files.createFile(directory.resolve(s"kernel-$kernelId.json"), owner)
    Files.write(file, Wire.json(info))
  }

  /** Fails if a channel is not bound, which Toree only logs. */
  private def checkChannels(info: JsonObject): Unit =
    Channels.foreach { name =>
      val address = new InetSocketAddress(InetAddress.getLoopbackAddress, info.getInt(name))
      try SocketChannel.open(address).close()
      catch {
        case _: IOException =>
          throw LaunchError.launchFailed(s"the kernel does not listen on its $name, ${address.getPort}")
      }
    }

  private def delete(directory: Path): Unit = {
    Option(directory.toFile.listFiles).toSeq.flatten.foreach(_.delete())
    directory.toFile.delete()
    ()
  }

  private[launcher] def say(message: String): Unit = System.err.println(s"toree-launcher: $message")
}

/** The life of one kernel process, from its start to its end. */
private final class Supervisor(
    options: Options,
    kernel: KernelProcess,
    commands: ServerSocketChannel,
    key: Option[LaunchKey]
) {
  private val failure = new AtomicReference[LaunchError]

  /** Serves until the kernel has ended; returns the exit code.
    *
    * @param report called once the kernel is up
    */
  def run(report: () => Unit): Int = {
    Signal.handle(new Signal("INT"), _ => kernel.interrupt())
    Seq("TERM", "HUP").foreach { name =>
      Signal.handle(new Signal(name), signal => { kernel.signal(signal.getNumber); () })
    }
    inBackground("commands")(new CommandListener(commands, key, act).run())
    inBackground("report") {
      if (kernel.awaitReady()) { // else it has ended, with an exit code
        report()
        ToreeLauncher.say(
          s"kernel ${options.kernelId} is up, channels not encrypted; reported to" +
            s" ${options.responseAddress}" +
            s" with protocol version ${if (key.isDefined) 2 else 1}"
        )
      }
    }
    val code = kernel.waitFor()
    kernel.endGroup()
    Option(failure.get).foreach(throw _)
    code
  }

  private def inBackground(name: String)(work: => Unit): Unit = {
    val thread = new Thread(
      () =>
        try work
        catch {
          case error: LaunchError => fail(error)
          case error: Exception =>
            error.printStackTrace()
            fail(LaunchError.launchFailed(s"the launcher failed: $error"))
        },
      name
    )
    thread.setDaemon(true)
    thread.start()
  }

  private def fail(error: LaunchError): Unit = {
    failure.set(error)
    kernel.signal(9)
    ()
  }

  private def act(command: JsonObject): JsonObject =
    command.get("signum") match {
      case null if command.containsKey("shutdown")                      => answer()
      case null if command.containsKey("usage")                         => usage()
      case null                                                         => answer("unknown command")
      case number: Integer if number >= 0 && number <= Supervisor.MaxSignal => answer(signal(number))
      case _                                                            => answer("no such signal")
    }

  private def signal(number: Int): Option[String] = {
    val alive = number match {
      case 0 => kernel.isAlive
      case 2 => kernel.interrupt(); kernel.isAlive
      case _ => kernel.signal(number)
    }
    if (alive) None else Some("the kernel has ended")
  }

  private def usage(): JsonObject =
    new Usage().read() match {
      case Some(content) =>
        val reply = answer()
        reply.put("usage", content)
        reply
      case None => answer("the container's cgroup cannot be read")
    }

  private def answer(error: String): JsonObject = answer(Some(error))

  private def answer(error: Option[String] = None): JsonObject = {
    val reply = new JsonObject
    reply.put("ok", Boolean.box(error.isEmpty))
    error.foreach(reply.put("error", _))
    reply
  }
}

private object Supervisor {
  val MaxSignal = 64
}
