package launcher

import java.io.{ByteArrayOutputStream, IOException}
import java.net.InetAddress
import java.nio.ByteBuffer
import java.nio.channels.{SelectionKey, Selector, ServerSocketChannel, SocketChannel}
import java.util.concurrent.TimeUnit.NANOSECONDS

import scala.collection.JavaConverters._
import scala.collection.mutable

import com.grack.nanojson.JsonObject

import launcher.CommandListener._

/** The communication port: signals and other commands from the gateway (protocol/SPEC.md).
  *
  * Every connection has a deadline and a size limit and never waits for another, so a silent or
  * garbled one does not delay the others.
  *
  * @param server already listens
  * @param launchKey authenticates commands; None to obey those of version 1, which are not authenticated
  * @param act carries out a command and returns the reply
  */
final class CommandListener(
    server: ServerSocketChannel,
    launchKey: Option[LaunchKey],
    act: JsonObject => JsonObject
) {
  private val selector = Selector.open()
  private val connections = mutable.ArrayBuffer.empty[Connection] // oldest first
  server.configureBlocking(false)
  server.register(selector, SelectionKey.OP_ACCEPT)

  /** Serves until a command closes the port. */
  def run(): Unit =
    while (server.isOpen) {
      val wait = connections.headOption.map(_.deadline - System.nanoTime())
      // 0 would wait forever; afterwards the deadline must have passed.
      selector.select(wait.fold(0L)(left => math.max(NANOSECONDS.toMillis(left) + 1, 1)))
      val ready = selector.selectedKeys.asScala.toList
      selector.selectedKeys.clear()
      ready.filter(_.isValid).foreach { key =>
        Option(key.attachment) match {
          case Some(connection: Connection) => read(connection)
          case _                            => accept()
        }
      }
      val now = System.nanoTime()
      connections.takeWhile(_.deadline - now <= 0).foreach(drop)
    }

  private def accept(): Unit = {
    val channel = server.accept()
    if (channel != null) { // else it has already been closed
      channel.configureBlocking(false)
      if (connections.size >= MaxConnections) dropOne()
      val connection = new Connection(channel, Wire.newChallenge())
      connections += connection
      channel.register(selector, SelectionKey.OP_READ, connection)
      if (launchKey.isDefined) send(connection, Wire.challengeLine(connection.challenge))
    }
  }

  /** Makes room at the expense of the address with the most connections. */
  private def dropOne(): Unit = drop(connections.groupBy(_.peer).values.maxBy(_.size).head)

  private def read(connection: Connection): Unit = {
    val buffer = ByteBuffer.allocate(MaxBytes)
    val count =
      try connection.channel.read(buffer)
      catch { case _: IOException => drop(connection); 0 }
    if (count > 0) connection.received.write(buffer.array, 0, count)
    val received = connection.received.toByteArray
    val complete = if (launchKey.isDefined) received.contains('\n'.toByte) else count < 0
    if (connection.channel.isOpen) {
      if (complete) serve(connection, received)
      if (complete || count < 0 || received.length > MaxBytes) drop(connection)
    }
  }

  private def serve(connection: Connection, received: Array[Byte]): Unit =
    try {
      val command = launchKey match {
        case Some(key) => key.openCommand(received.takeWhile(_ != '\n'), connection.challenge)
        case None      => Wire.parse(received)
      }
      val answer = act(command)
      launchKey.foreach(key => send(connection, key.reply(Wire.json(answer), connection.challenge)))
      if (command.containsKey("shutdown")) close()
    } catch { case _: WireError => }

  private def close(): Unit = {
    server.close()
    connections.toList.foreach(drop)
    selector.close()
  }

  private def send(connection: Connection, data: Array[Byte]): Unit =
    // A few hundred bytes on a fresh connection always fit its send buffer.
    try {
      connection.channel.write(ByteBuffer.wrap(data))
      ()
    } catch { case _: IOException => }

  private def drop(connection: Connection): Unit = {
    connections -= connection
    connection.channel.close()
  }
}

object CommandListener {
  val MaxConnections = 32
  val MaxBytes = 4096
  val Seconds = 5L

  private final class Connection(val channel: SocketChannel, val challenge: String) {
    val peer: InetAddress = channel.socket.getInetAddress
    val received = new ByteArrayOutputStream
    val deadline: Long = System.nanoTime() + Seconds * 1000000000L
  }
}
