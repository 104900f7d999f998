package launcher

/** A failed launch: one line for the user and an exit code for the gateway. */
final class LaunchError(val exitCode: Int, message: String) extends Exception(message)

/** From sysexits.h, as in bootstrap-kernel.sh; the gateway shows the code and the line. */
object LaunchError {
  val BadParameter = 64
  val NoRuntime = 69
  val LaunchFailed = 70
  val EncryptionImpossible = 78

  def badParameter(message: String): LaunchError = new LaunchError(BadParameter, message)

  def launchFailed(message: String): LaunchError = new LaunchError(LaunchFailed, message)
}
