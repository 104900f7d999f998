package launcher

import java.io.IOException
import java.net.{ConnectException, InetSocketAddress, Socket, SocketTimeoutException, UnknownHostException}

import com.grack.nanojson.JsonObject

/** The report of the kernel's connection info to the gateway. */
object Reporting {
  private val Milliseconds = 5000
  private val LongestPause = 2000L

  /** Sends the kernel's connection info, with a bounded number of tries.
    *
    * @param options the response address, and how often to try
    * @param key encrypts it for the gateway
    * @param info the kernel's connection info
    */
  def report(options: Options, key: ReportKey, info: JsonObject): Unit = {
    var attempt = 1
    var done = false
    while (!done) {
      try {
        send(options, key, info)
        done = true
      } catch {
        case error: IOException if attempt < options.reportAttempts =>
          Thread.sleep(math.min(100L << math.min(attempt, 10), LongestPause))
          attempt += 1
        case error: IOException =>
          throw LaunchError.launchFailed(
            "the gateway cannot be reached at the response address" +
              s" ${options.responseAddress} after $attempt attempts:" +
              s" ${reason(error)}"
          )
      }
    }
  }

  private def send(options: Options, key: ReportKey, info: JsonObject): Unit = {
    val socket = new Socket
    try {
      socket.connect(new InetSocketAddress(options.responseHost, options.responsePort), Milliseconds)
      if (options.launchKey.isDefined) {
        // The gateway can reach the kernel at the address that this connection comes from.
        info.put("ip", socket.getLocalAddress.getHostAddress.takeWhile(_ != '%'))
      }
      socket.getOutputStream.write(key.report(Wire.json(info)))
      socket.shutdownOutput()
      // A gateway without a free connection resets this one, and another try makes sense; a gateway
      // that is slow to close has the bytes nevertheless.
      socket.setSoTimeout(Milliseconds)
      try socket.getInputStream.read()
      catch { case _: SocketTimeoutException => }
    } finally socket.close()
  }

  private def reason(error: IOException): String = error match {
    case _: ConnectException | _: SocketTimeoutException =>
      error.getMessage.stripSuffix(" (Connection refused)")
    case _: UnknownHostException => "unknown host"
    case _                       => Option(error.getMessage).getOrElse(error.getClass.getSimpleName)
  }
}
