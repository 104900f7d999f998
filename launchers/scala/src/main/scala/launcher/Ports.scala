package launcher

import java.io.IOException
import java.net.{InetSocketAddress, StandardSocketOptions}
import java.nio.channels.{NetworkChannel, ServerSocketChannel, SocketChannel}

import scala.util.Random

/** Sockets for the kernel's channels, within the administrator's port range. */
object Ports {

  /** The gateway reaches the kernel from another host. Java binds it for IPv6 as well, where the system has that. */
  val AnyAddress = "0.0.0.0"

  /** Listens on a free port.
    *
    * @param portRange lowest and highest port; (0, 0) for any port that the system chooses
    */
  def listen(portRange: (Int, Int), backlog: Int): ServerSocketChannel = {
    val channel = ServerSocketChannel.open()
    bind(channel, portRange)(channel.bind(_, backlog))
    channel
  }

  /** Binds sockets that hold ports until the kernel itself listens on them.
    *
    * The kernel binds beside the reservation, which is possible on Linux because both sockets have
    * SO_REUSEADDR and this one never listens. It is set after binding: if it were set before, bind()
    * would accept ports that another launcher has reserved in the same way.
    */
  def reserve(portRange: (Int, Int), count: Int): Seq[SocketChannel] =
    Seq.fill(count) {
      val channel = SocketChannel.open()
      bind(channel, portRange)(channel.bind(_))
      channel.setOption[java.lang.Boolean](StandardSocketOptions.SO_REUSEADDR, true)
    }

  def number(channel: NetworkChannel): Int =
    channel.getLocalAddress.asInstanceOf[InetSocketAddress].getPort

  private def bind(channel: NetworkChannel, portRange: (Int, Int))(
      attempt: InetSocketAddress => Unit
  ): Unit = {
    val (lowest, highest) = portRange
    val size = highest - lowest + 1
    val start = Random.nextInt(size) // spreads kernels that share a host; no secret
    val bound = Iterator.range(0, size).exists { step =>
      try {
        attempt(new InetSocketAddress(AnyAddress, lowest + (start + step) % size))
        true
      } catch { case _: IOException => false }
    }
    if (!bound) {
      channel.close()
      throw LaunchError.launchFailed(s"no free port within $lowest..$highest")
    }
  }
}
