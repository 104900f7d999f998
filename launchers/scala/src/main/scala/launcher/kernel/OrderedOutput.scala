package launcher.kernel

import akka.actor.{ActorRefFactory, ActorSelection}
import org.apache.toree.kernel.protocol.v5.MessageType.Outgoing
import org.apache.toree.kernel.protocol.v5.SocketType
import org.apache.toree.kernel.protocol.v5.kernel.{ActorLoader, SimpleActorLoader}

import scala.language.reflectiveCalls // Outgoing is of a structural type

/** Finds Toree's actors.
  *
  * Toree passes each kind of output through an actor of its own to that of the IOPub channel, so that one
  * kind overtakes another, and `idle` the result: clients stop listening at `idle`. Here all output goes
  * to the channel directly, which keeps the order.
  */
private final class OrderedOutput(actors: ActorRefFactory) extends ActorLoader {
  private val toree = SimpleActorLoader(actors)
  private val output = Set[Enumeration#Value](
    Outgoing.ClearOutput,
    Outgoing.CommClose,
    Outgoing.CommMsg,
    Outgoing.CommOpen,
    Outgoing.DisplayData,
    Outgoing.Error,
    Outgoing.ExecuteInput,
    Outgoing.ExecuteResult,
    Outgoing.Status,
    Outgoing.Stream
  )

  def load(actor: Enumeration#Value): ActorSelection =
    toree.load(if (output(actor)) SocketType.IOPub else actor)
}
