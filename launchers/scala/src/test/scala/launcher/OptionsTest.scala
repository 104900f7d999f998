package launcher

import java.util.Base64

import org.junit.Assert.{assertArrayEquals, assertEquals, assertFalse, assertThrows, assertTrue}
import org.junit.Test

class OptionsTest {
  private val publicKey = Base64.getEncoder.encodeToString(0x30.toByte +: new Array[Byte](293))
  private val given = Map(
    "KERNEL_ID" -> "2b0f5c0c-0f3e-4a07-8d6f-6b2f6a3c9d10",
    "RESPONSE_ADDRESS" -> "10.0.0.1:8877",
    "PUBLIC_KEY" -> publicKey
  )

  private def parse(arguments: String*): Options = Options.parse(arguments, given)

  private def refused(arguments: Seq[String], environment: Map[String, String]): LaunchError =
    assertThrows(
      classOf[LaunchError],
      () => { Options.parse(arguments, given ++ environment); () }
    )

  @Test def theEnvironmentIsEnough(): Unit = {
    val options = parse()
    assertEquals("2b0f5c0c-0f3e-4a07-8d6f-6b2f6a3c9d10", options.kernelId)
    assertEquals(("10.0.0.1", 8877), (options.responseHost, options.responsePort))
    assertEquals(((0, 0), "none", 10), (options.portRange, options.initMode, options.reportAttempts))
    assertTrue(options.launchKey.isEmpty && options.sparkOptions.isEmpty)
  }

  @Test def theCommandLineComesFirst(): Unit = {
    val options = parse(
      "--RemoteProcessProxy.kernel-id=another",
      "--response-address",
      "[fd00::1]:9",
      "--port-range",
      "40000..41000",
      "--spark-context-initialization-mode",
      "Eager",
      "--alternate-sigint",
      "USR2"
    )
    assertEquals(("another", "fd00::1", 9), (options.kernelId, options.responseHost, options.responsePort))
    assertEquals("[fd00::1]:9", options.responseAddress)
    assertEquals(((40000, 41000), "eager"), (options.portRange, options.initMode))
  }

  @Test def enterpriseGatewaysVariables(): Unit = {
    val options = Options.parse(
      Nil,
      Map(
        "KERNEL_ID" -> "a",
        "EG_RESPONSE_ADDRESS" -> "gateway:1",
        "EG_PUBLIC_KEY" -> publicKey,
        "EG_PORT_RANGE" -> "40000..41000"
      )
    )
    assertEquals(("gateway", 1, (40000, 41000)), (options.responseHost, options.responsePort, options.portRange))
  }

  @Test def aLaunchKeyNeedsNoPublicKey(): Unit = {
    val secret = Array.tabulate(32)(_.toByte)
    val options = Options.parse(
      Nil,
      given - "PUBLIC_KEY" + ("KERNEL_LAUNCH_KEY" -> Base64.getEncoder.encodeToString(secret))
    )
    assertArrayEquals(secret, options.launchKey.get)
  }

  @Test def sparkOptionsAreWords(): Unit = {
    val options = Options.parse(Nil, given + ("KERNEL_EXTRA_SPARK_OPTS" -> " --conf a=$(b) --x "))
    assertEquals(Seq("--conf", "a=$(b)", "--x"), options.sparkOptions)
    val quoted = Options.parse(Nil, given + ("KERNEL_EXTRA_SPARK_OPTS" -> "--conf \"a=-Db -Dc\""))
    assertEquals(Seq("--conf", "a=-Db -Dc"), quoted.sparkOptions)
  }

  @Test def sparkOptionsWithAnOpenQuote(): Unit = {
    val error = refused(Nil, Map("KERNEL_EXTRA_SPARK_OPTS" -> "--conf \"a=hush"))
    assertEquals(64, error.exitCode)
    assertEquals("KERNEL_EXTRA_SPARK_OPTS is malformed: a quote (\") is not closed", error.getMessage)
  }

  @Test def withoutAClusterThereIsNoSpark(): Unit =
    assertEquals(
      "none",
      parse("--cluster-type", "none", "--spark-context-initialization-mode", "eager").initMode
    )

  @Test def badParameters(): Unit = {
    val bad = Seq(
      Seq("--port-range", "20000") -> "--port-range (PORT_RANGE) is not of the form",
      Seq("--port-range", "20000..20999") -> "must span at least 1000 ports",
      Seq("--port-range", "30000..20000") -> "must lie within 1024..65535",
      Seq("--port-range", "100..2000") -> "must lie within 1024..65535",
      Seq("--port-range", "60000..70000") -> "must lie within 1024..65535",
      Seq("--response-address", "1.2.3.4") -> "--response-address (RESPONSE_ADDRESS)",
      Seq("--response-address", "1.2.3.4:0") -> "--response-address (RESPONSE_ADDRESS)",
      Seq("--public-key", "hello") -> "--public-key (PUBLIC_KEY)",
      Seq("--kernel-id", "../x") -> "--kernel-id (KERNEL_ID)",
      Seq("--spark-context-initialization-mode", "soon") -> "must be one of: none, lazy, eager",
      Seq("--transport-encryption", "maybe") -> "must be one of: disabled, auto, required",
      Seq("--cluster-type", "dask") -> "--cluster-type must be one of: spark, none",
      Seq("--no-such-option", "x") -> "unrecognized arguments",
      Seq("--port-range") -> "expected one argument"
    )
    bad.foreach { case (arguments, said) =>
      val error = refused(arguments, Map.empty)
      assertEquals(64, error.exitCode)
      assertTrue(error.getMessage, error.getMessage.contains(said))
    }
  }

  @Test def badSettings(): Unit =
    Seq("MIN_PORT_RANGE_SIZE", "RESPONSE_ATTEMPTS").foreach { name =>
      val error = refused(Seq("--port-range", "20000..30000"), Map(name -> "some"))
      assertEquals(s"$name must be a whole number from 1 to 99999", error.getMessage)
    }

  @Test def secretsAreNotQuoted(): Unit = {
    val error = refused(Nil, Map("KERNEL_LAUNCH_KEY" -> "hush-hush"))
    assertEquals("KERNEL_LAUNCH_KEY is not base64 of 32 bytes", error.getMessage)
    val key = Base64.getEncoder.encodeToString(new Array[Byte](32))
    assertFalse(Options.parse(Nil, given + ("KERNEL_LAUNCH_KEY" -> key)).toString.contains(key))
  }

  @Test def encryptionCannotBeRequired(): Unit = {
    assertEquals(78, refused(Seq("--transport-encryption", "required"), Map.empty).exitCode)
    assertEquals(78, refused(Nil, Map("KERNEL_TRANSPORT_ENCRYPTION" -> "required")).exitCode)
    Seq("auto", "disabled", "{transport_encryption}").foreach(parse("--transport-encryption", _))
  }

  @Test def anInvalidPublicKey(): Unit =
    assertEquals(
      64,
      assertThrows(classOf[LaunchError], () => { new GatewayKey("MAAA"); () }).exitCode
    )
}
