package launcher.kernel

import java.io.OutputStream
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit.MILLISECONDS

import com.typesafe.config.Config
import org.apache.spark.{SparkContext, SparkEnv}
import org.apache.toree.interpreter.Results.Result
import org.apache.toree.interpreter.{ExecuteFailure, ExecuteOutput, Interpreter => ToreeInterpreter}
import org.apache.toree.kernel.interpreter.scala.ScalaInterpreter
import org.apache.toree.utils.TaskManager

import scala.concurrent.Future

/** Toree's Scala interpreter, with interrupts that end the current cell and leave the rest.
  *
  * Toree's own interrupts make a SparkContext if none exists, and do not end a loop that never waits.
  * Its names `spark` and `sc` make one at their first use in every mode; in mode none they do not
  * exist here.
  */
final class Interpreter(config: Config) extends ScalaInterpreter(config) {
  import Interpreter.Task

  @volatile private var running: Option[Task] = None
  private val autoFlush = new AutoFlush

  override protected def newTaskManager(): TaskManager =
    new TaskManager(maximumWorkers = config.getInt("max_interpreter_threads")) {
      override def add[T <: Any](work: => T): Future[T] = super.add {
        val task = new Task(Thread.currentThread)
        running = Some(task)
        try work
        finally {
          running = None
          task.finish()
        }
      }
    }

  override def interpret(
      code: String,
      silent: Boolean,
      output: Option[OutputStream]
  ): (Result, Either[ExecuteOutput, ExecuteFailure]) =
    try super.interpret(code, silent, output)
    finally autoFlush.await()

  override def interrupt(): ToreeInterpreter = {
    val task = running
    // Code that waits for a job fails with Spark's own message, after a moment.
    val heeded = SparkEnv.get != null && {
      SparkContext.getOrCreate().cancelAllJobs() // there already is one to get
      task.exists(_.hasFinished)
    }
    if (!heeded) task.foreach(_.interrupt())
    this
  }

  override def bindSparkContext(): Unit = if (hasSpark) super.bindSparkContext()

  override def bindSparkSession(): Unit = if (hasSpark) super.bindSparkSession()

  private def hasSpark = config.getString("spark_context_initialization_mode") != "none"
}

private object Interpreter {
  private val TimeoutMilliseconds = 500L

  /** A cell's execution, on its thread. */
  final class Task(thread: Thread) {
    private val finished = new CountDownLatch(1)

    def finish(): Unit = finished.countDown()

    /** Waits a moment for the end of the execution; returns whether it has ended. */
    def hasFinished: Boolean = finished.await(TimeoutMilliseconds, MILLISECONDS)

    /** Interrupts the thread; makes code fail that ignores the interrupt. */
    def interrupt(): Unit = {
      thread.interrupt()
      if (!hasFinished) stop()
    }

    // There is no other way to end a loop that never waits; JVMs up to version 19 have it.
    @annotation.nowarn("cat=deprecation")
    private def stop(): Unit = thread.stop()
  }
}
