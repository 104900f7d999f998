package launcher.kernel

import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.TimeUnit.MILLISECONDS

import org.apache.toree.global.ScheduledTaskManager
import org.apache.toree.utils.ScheduledTaskManager.DefaultExecutionDelay

import scala.language.reflectiveCalls // Toree keeps its scheduler to itself

/** What Toree's streams of output do by themselves: a moment after a first byte, each sends what it has.
  *
  * It takes the bytes first and sends them later, in one of several threads. At the end of a cell Toree
  * flushes but one of the streams, which does nothing where the bytes have just been taken. So one part
  * of the output overtakes another, and `idle` the last. Here one thread does it all; make this before
  * there is output.
  */
private final class AutoFlush {
  private val scheduler = ScheduledTaskManager.instance
    .asInstanceOf[{ def _scheduler: ScheduledThreadPoolExecutor }]
    ._scheduler

  scheduler.setCorePoolSize(1)

  /** Waits until all that has been written is sent.
    *
    * The thread works in the order of time: what is put off for as long as a flush is comes after the
    * flushes of all that was written before.
    */
  def await(): Unit = {
    val nothing: Runnable = () => ()
    scheduler.schedule(nothing, DefaultExecutionDelay.toLong, MILLISECONDS).get()
    ()
  }
}
