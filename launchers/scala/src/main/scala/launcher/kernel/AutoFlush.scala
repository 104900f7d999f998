package launcher.kernel

import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.TimeUnit.MILLISECONDS

import org.apache.toree.global.ScheduledTaskManager
import org.apache.toree.utils.ScheduledTaskManager.DefaultExecutionDelay

import scala.language.reflectiveCalls // Toree's scheduler is private

/** The timed flush of Toree's streams of output: each sends its bytes a moment after the first one.
  *
  * A stream takes its bytes first and sends them later, in one of several threads. At the end of a cell
  * Toree flushes only one of the streams, which has no effect if its bytes have just been taken. So one
  * part of the output overtakes another, and `idle` overtakes the last. Here one thread does all of it;
  * create this before there is output.
  */
private final class AutoFlush {
  private val scheduler = ScheduledTaskManager.instance
    .asInstanceOf[{ def _scheduler: ScheduledThreadPoolExecutor }]
    ._scheduler

  scheduler.setCorePoolSize(1)

  /** Waits until all that has been written is sent.
    *
    * The thread works in order of time: a task with the delay of a flush comes after the flushes of all
    * that was written before.
    */
  def await(): Unit = {
    val nothing: Runnable = () => ()
    scheduler.schedule(nothing, DefaultExecutionDelay.toLong, MILLISECONDS).get()
    ()
  }
}
