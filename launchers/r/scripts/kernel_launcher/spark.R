# The names `spark` and `sc` in an R kernel, created as the init mode says.

# "eager" starts the session now, "lazy" at the first use of one of the names, "none" never.
prepare_spark <- function(mode) {
  if (mode == "none") {
    return(invisible())
  }
  create <- list(
    spark = function() {
      session(mode)
    },
    sc = function() {
      SparkR:::callJStatic("org.apache.spark.sql.api.r.SQLUtils", "getJavaSparkContext", session(mode))
    }
  )
  for (name in names(create)) {
    if (mode == "eager") {
      assign(name, create[[name]](), globalenv())
    } else {
      eval(bquote(delayedAssign(.(name), .(create[[name]])(), assign.env = globalenv())))
    }
  }
}

# The Spark session, which SparkR makes at the first call.
session <- function(mode) {
  tryCatch(
    loadNamespace("SparkR"),
    error = function(condition) {
      fail(
        NO_RUNTIME, "Spark is to be initialized (", mode, "), but SparkR cannot be loaded: ",
        reason(condition)
      )
    }
  )
  SparkR::sparkR.session()
}
