package launcher

import java.util.Base64

import scala.util.Try

import launcher.LaunchError.badParameter

/** A launch, validated.
  *
  * @param responseHost name or address of the gateway's response server
  * @param launchKey this launch's secret (32 bytes); None under a gateway that speaks version 1
  * @param freshKeyOffered whether the gateway accepts a fresh key in place of the launch key
  * @param portRange lowest and highest port to use; (0, 0) leaves the choice to the system
  * @param initMode none, lazy or eager: when a SparkContext is made
  * @param toreeAssembly the jar of Apache Toree
  * @param reportAttempts how often to try to reach the gateway before giving up
  * @param sparkOptions further arguments of spark-submit
  */
final case class Options(
    kernelId: String,
    kernelName: String,
    userName: String,
    responseHost: String,
    responsePort: Int,
    publicKey: String,
    launchKey: Option[Array[Byte]],
    freshKeyOffered: Boolean,
    portRange: (Int, Int),
    initMode: String,
    toreeAssembly: String,
    reportAttempts: Int,
    sparkOptions: Seq[String]
) {

  /** The response server's host:port, with brackets around an IPv6 address. */
  def responseAddress: String = {
    val host = if (responseHost.contains(':')) s"[$responseHost]" else responseHost
    s"$host:$responsePort"
  }
}

/** The launcher's command line, with the container's environment for options that it omits.
  *
  * The options have the names that Gateway Provisioners' launchers and, with the prefix
  * `RemoteProcessProxy.`, Enterprise Gateway's launchers use.
  */
object Options {
  val LaunchKeyBytes = 32

  /** The feature of the wire protocol, offered by the gateway and then by this launcher. */
  val FreshKey = "fresh-key"

  /** Removed before user code runs: keys, and variables that only concern the launcher. */
  val PrivateVariables: Seq[String] = Seq(
    "KERNEL_LAUNCH_KEY",
    "PUBLIC_KEY",
    "EG_PUBLIC_KEY",
    "RESPONSE_ADDRESS",
    "EG_RESPONSE_ADDRESS",
    "JPY_PARENT_PID"
  )

  private val Names = Set(
    "kernel-id",
    "response-address",
    "public-key",
    "port-range",
    "spark-context-initialization-mode",
    "cluster-type",
    "transport-encryption",
    "toree-assembly",
    "alternate-sigint" // Toree's, which older scripts pass; it has no effect here
  )

  /** Validates the launcher's command line.
    *
    * Throws a LaunchError that names the option that is missing or malformed; values that could be
    * secret are not quoted.
    */
  def parse(arguments: Seq[String], environment: Map[String, String]): Options = {
    val given = readArguments(arguments.toList)
    def variable(name: String): Option[String] = environment.get(name).filter(_.nonEmpty)
    def option(name: String, variables: String*): String =
      given.get(name).orElse(variables.flatMap(variable(_)).headOption).getOrElse("")

    val (host, port) = address(option("response-address", "RESPONSE_ADDRESS", "EG_RESPONSE_ADDRESS"))
    val key = variable("KERNEL_LAUNCH_KEY").map(launchKey)
    val clusterType = given.getOrElse("cluster-type", "spark")
    if (clusterType != "spark" && clusterType != "none") {
      throw badParameter("--cluster-type must be one of: spark, none")
    }
    val mode = choice(
      "spark-context-initialization-mode",
      Some(option("spark-context-initialization-mode", "KERNEL_SPARK_CONTEXT_INIT_MODE"))
        .filter(_.nonEmpty)
        .getOrElse("none"),
      Seq("none", "lazy", "eager")
    )
    checkEncryption(
      option("transport-encryption", "KERNEL_TRANSPORT_ENCRYPTION", "TRANSPORT_ENCRYPTION")
    )
    Options(
      kernelId = kernelId(option("kernel-id", "KERNEL_ID")),
      kernelName = variable("KERNEL_NAME").getOrElse("").filterNot(_.isControl).take(256),
      userName = variable("KERNEL_USERNAME").getOrElse("kernel"),
      responseHost = host,
      responsePort = port,
      publicKey = publicKey(option("public-key", "PUBLIC_KEY", "EG_PUBLIC_KEY"), required = key.isEmpty),
      launchKey = key,
      freshKeyOffered = variable("KERNEL_GATEWAY_FEATURES").exists(_.split(',').contains(FreshKey)),
      portRange = Some(option("port-range", "PORT_RANGE", "EG_PORT_RANGE"))
        .filter(_.nonEmpty)
        .map(portRange(_, environment))
        .getOrElse((0, 0)),
      initMode = if (clusterType == "none") "none" else mode,
      toreeAssembly = option("toree-assembly"),
      reportAttempts = positive("RESPONSE_ATTEMPTS", environment, 10),
      sparkOptions = variable("KERNEL_EXTRA_SPARK_OPTS").map(sparkOptions).getOrElse(Nil)
    )
  }

  private def sparkOptions(value: String): Seq[String] =
    ShellWords.split(value) match {
      case Right(words)  => words
      case Left(problem) => throw badParameter(s"KERNEL_EXTRA_SPARK_OPTS is malformed: $problem")
    }

  private def readArguments(arguments: List[String]): Map[String, String] = arguments match {
    case Nil => Map.empty
    case argument :: rest =>
      val Array(flag, joined @ _*) = argument.split("=", 2)
      val name = flag.stripPrefix("--").stripPrefix("RemoteProcessProxy.")
      if (!flag.startsWith("--") || !Names(name)) {
        throw badParameter(s"unrecognized arguments: $flag")
      }
      (joined.headOption, rest) match {
        case (Some(value), _)      => readArguments(rest).updated(name, value)
        case (None, value :: more) => readArguments(more).updated(name, value)
        case (None, Nil)           => throw badParameter(s"argument $flag: expected one argument")
      }
  }

  private def kernelId(value: String): String = {
    if (!value.matches("[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?")) {
      throw badParameter("--kernel-id (KERNEL_ID) is missing or not a valid kernel id")
    }
    value
  }

  private val Address = """(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9_.-]+)):([0-9]{1,5})""".r

  private def address(value: String): (String, Int) = value match {
    case Address(bracketed, plain, port) if 0 < port.toInt && port.toInt < (1 << 16) =>
      (Option(bracketed).getOrElse(plain), port.toInt)
    case _ =>
      throw badParameter(
        "--response-address (RESPONSE_ADDRESS) is missing or not of the form host:port"
      )
  }

  private def decode(value: String): Array[Byte] =
    Try(Base64.getDecoder.decode(value)).getOrElse(Array.empty)

  private def publicKey(value: String, required: Boolean): String = {
    // 0x30: a DER SEQUENCE, as every SubjectPublicKeyInfo is
    if ((value.nonEmpty || required) && !decode(value).headOption.contains(0x30: Byte)) {
      throw badParameter(
        "--public-key (PUBLIC_KEY) is missing or not base64 of a DER public key"
      )
    }
    value
  }

  private def launchKey(value: String): Array[Byte] = {
    val key = decode(value)
    if (key.length != LaunchKeyBytes) {
      throw badParameter(s"KERNEL_LAUNCH_KEY is not base64 of $LaunchKeyBytes bytes")
    }
    key
  }

  private val Range = """([0-9]{1,5})\.\.([0-9]{1,5})""".r

  private def portRange(value: String, environment: Map[String, String]): (Int, Int) = value match {
    case Range(low, high) =>
      val (lowest, highest) = (low.toInt, high.toInt)
      val minimum = positive("MIN_PORT_RANGE_SIZE", environment, 1000)
      if (lowest != 0 || highest != 0) {
        if (lowest < 1024 || lowest > highest || highest >= (1 << 16)) {
          throw badParameter(
            "--port-range (PORT_RANGE) must lie within 1024..65535, or be 0..0"
          )
        }
        if (highest - lowest < minimum) {
          throw badParameter(
            s"--port-range (PORT_RANGE) must span at least $minimum ports (MIN_PORT_RANGE_SIZE)"
          )
        }
      }
      (lowest, highest)
    case _ =>
      throw badParameter("--port-range (PORT_RANGE) is not of the form LOWEST..HIGHEST")
  }

  private def positive(name: String, environment: Map[String, String], default: Int): Int = {
    val value = environment.get(name).filter(_.nonEmpty).getOrElse(default.toString)
    if (!value.matches("[0-9]{1,5}") || value.toInt == 0) {
      throw badParameter(s"$name must be a whole number from 1 to 99999")
    }
    value.toInt
  }

  private def checkEncryption(value: String): Unit =
    // A brace begins a kernelspec's placeholder that an older gateway did not replace.
    if (value.nonEmpty && !value.startsWith("{")) {
      val policy = choice("transport-encryption", value, Seq("disabled", "auto", "required"))
      if (policy == "required") {
        throw new LaunchError(
          LaunchError.EncryptionImpossible,
          "encryption of the kernel's channels is required; Apache Toree does not support it"
        )
      }
    }

  private def choice(name: String, value: String, choices: Seq[String]): String = {
    val lower = value.toLowerCase
    if (!choices.contains(lower)) {
      throw badParameter(s"--$name must be one of: ${choices.mkString(", ")}")
    }
    lower
  }
}
