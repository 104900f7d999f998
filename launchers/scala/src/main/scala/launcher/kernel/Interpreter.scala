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

/** Toree's Scala interpreter, with interrupts that end what is running and leave the rest.
  *
  * Toree's own make a SparkContext where there was none, and let a loop that waits for nothing go
  * on. Its names `spark` and `sc` make one at their first use whatever the mode is; in mode none they
  * do not exist here.
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
    // Code that waits for a job fails with Spark's own words when that is given a moment to happen.
    val heeded = SparkEnv.get != null && {
      SparkContext.getOrCreate().cancelAllJobs() // getOrCreate makes none here: there is one
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
  private val PatienceMilliseconds = 500L

  /** A cell's execution, on its thread. */
  final class Task(thread: Thread) {
    private val finished = new CountDownLatch(1)

    def finish(): Unit = finished.countDown()

    /** Waits a moment for the end of the execution; tells whether that has come. */
    def hasFinished: Boolean = finished.await(PatienceMilliseconds, MILLISECONDS)

    /** Interrupts the thread; where the code does not heed that, makes it fail. */
    def interrupt(): Unit = {
      thread.interrupt()
      if (!hasFinished) stop()
    }

    // There is no other way to end a loop that waits for nothing; JVMs can do it up to version 19.
    @annotation.nowarn("cat=deprecation")
    private def stop(): Unit = thread.stop()
  }
}
