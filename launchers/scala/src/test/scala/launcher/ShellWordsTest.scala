package launcher

import org.junit.Assert.assertEquals
import org.junit.Test

/** The expected words are those of Python's `shlex.split`. */
class ShellWordsTest {
  private def check(cases: (String, Seq[String])*): Unit =
    cases.foreach { case (text, words) => assertEquals(text, Right(words), ShellWords.split(text)) }

  @Test def blanksSeparate(): Unit =
    check("" -> Nil, " \t\r\n" -> Nil, "a" -> Seq("a"), " --conf \t a=b\n--x " -> Seq("--conf", "a=b", "--x"))

  @Test def quotesKeepBlanks(): Unit =
    check(
      """--conf "a=-Da=1 -Db=2"""" -> Seq("--conf", "a=-Da=1 -Db=2"),
      "a='two words'" -> Seq("a=two words"),
      """a="b c"'d e'f g""" -> Seq("a=b cd ef", "g"),
      """"it's" '"x"'""" -> Seq("it's", "\"x\""),
      """'' a "" """ -> Seq("", "a", "")
    )

  @Test def backslashesQuote(): Unit =
    check(
      """a\ b \"c\' \\""" -> Seq("a b", "\"c'", "\\"),
      """"a\"b\\c\d" """ -> Seq("a\"b\\c\\d"),
      """'a\b\'""" -> Seq("a\\b\\")
    )

  @Test def nothingIsExpanded(): Unit =
    check("$HOME $(id) `id` * ~ #a;b|c&>d" -> Seq("$HOME", "$(id)", "`id`", "*", "~", "#a;b|c&>d"))

  @Test def whatIsNotClosed(): Unit =
    Seq(
      "a \"b c" -> "a quote (\") is not closed",
      "a 'b \\'c'" -> "a quote (') is not closed",
      "a \"b\\" -> "a quote (\") is not closed",
      "a\\" -> "a character is missing after its last backslash"
    ).foreach { case (text, problem) => assertEquals(text, Left(problem), ShellWords.split(text)) }
}
