package launcher

import java.net.Socket
import java.nio.charset.StandardCharsets.UTF_8
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit.SECONDS

import com.grack.nanojson.JsonObject
import org.junit.Assert.{assertEquals, assertFalse, assertNull, assertTrue}
import org.junit.{After, Test}

/** The communication port on loopback. */
class CommandListenerTest {
  private val acted = new LinkedBlockingQueue[JsonObject]
  private val server = Ports.listen((0, 0), CommandListener.MaxConnections)
  private val port = Ports.number(server)
  private var sockets = List.empty[Socket]

  private def start(launchKey: Option[LaunchKey]): Thread = {
    val listener = new CommandListener(
      server,
      launchKey,
      command => {
        acted.add(command)
        val answer = new JsonObject
        answer.put("ok", Boolean.box(true))
        answer
      }
    )
    val thread = new Thread(() => listener.run())
    thread.start()
    thread
  }

  private def connect(text: String = ""): Socket = {
    val socket = new Socket("127.0.0.1", port)
    socket.setSoTimeout(60000)
    sockets ::= socket
    socket.getOutputStream.write(text.getBytes(UTF_8))
    socket
  }

  private def version1(command: String): Unit = {
    val socket = connect(command)
    socket.shutdownOutput()
    assertEquals(-1, socket.getInputStream.read())
  }

  @After def close(): Unit = {
    sockets.foreach(_.close())
    server.close()
  }

  @Test def silentAndGarbledPeersDelayNoOthers(): Unit = {
    val thread = start(None)
    connect()
    connect("{\"signum\":")
    version1("no JSON")
    val flood = connect("x" * (CommandListener.MaxBytes + 1))
    assertEquals(-1, flood.getInputStream.read())
    version1("{\"signum\": 2}")
    assertEquals(2, acted.poll(60, SECONDS).getInt("signum"))
    // All that are open when the port is closed are closed as well.
    version1("{\"shutdown\": 1}")
    thread.join(60000)
    assertFalse(thread.isAlive)
    assertFalse(server.isOpen)
  }

  @Test def theOldestOfManyMakesRoom(): Unit = {
    start(None)
    val first = connect()
    (1 to CommandListener.MaxConnections).foreach(_ => connect())
    assertEquals(-1, first.getInputStream.read())
    version1("{\"signum\": 0}")
    assertEquals(0, acted.poll(60, SECONDS).getInt("signum"))
  }

  @Test def aSilentPeerIsDropped(): Unit = {
    start(None)
    assertEquals(-1, connect().getInputStream.read())
  }

  @Test def version1CommandsAreIgnoredWhereThereIsALaunchKey(): Unit = {
    start(Some(new LaunchKey(new Array[Byte](32), "kernel")))
    val socket = connect("{\"signum\": 9}\n")
    val said = new String(socket.getInputStream.readAllBytes(), UTF_8)
    assertTrue(said, said.startsWith("{") && said.contains("challenge") && said.endsWith("}\n"))
    assertNull(acted.poll())
  }
}
