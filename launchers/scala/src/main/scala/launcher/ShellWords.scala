package launcher

/** The words of a text, in which quotes keep blanks together as in a POSIX shell (and Python's `shlex`).
  *
  * Nothing is expanded or run: `$`, `*` and backquotes are characters like any other.
  */
object ShellWords {

  /** Returns the words, or what the text lacks. */
  def split(text: String): Either[String, Seq[String]] = {
    val words = Seq.newBuilder[String]
    val word = new StringBuilder
    var inWord = false // also true for an empty pair of quotes
    var quote: Option[Char] = None
    var position = 0
    while (position < text.length) {
      val character = text(position)
      val following = text.lift(position + 1)
      position += 1
      (quote, character) match {
        case (Some(open), _) if open == character => quote = None
        // Within double quotes, a backslash is one unless a quote or another backslash follows.
        case (None, '\\') | (Some('"'), '\\') if quote.isEmpty || following.exists("\"\\".contains(_)) =>
          if (following.isEmpty) {
            return Left("a character is missing after its last backslash")
          }
          word ++= following.map(_.toString).getOrElse("")
          inWord = true
          position += 1
        case (None, '"' | '\'') =>
          quote = Some(character)
          inWord = true
        case (None, ' ' | '\t' | '\r' | '\n') =>
          if (inWord) {
            words += word.result()
            word.clear()
            inWord = false
          }
        case _ =>
          word += character
          inWord = true
      }
    }
    if (inWord) {
      words += word.result()
    }
    quote match {
      case Some(open) => Left(s"a quote ($open) is not closed")
      case None       => Right(words.result())
    }
  }
}
