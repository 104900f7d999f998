// Package run runs programs to their end. Its errors carry the command and the end of its output.
package run

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// keptOutput is how much of a failed command's output an error carries.
const keptOutput = 2000

// Output runs a command and returns its standard output.
func Output(ctx context.Context, argv ...string) (string, error) {
	return Command(exec.CommandContext(ctx, argv[0], argv[1:]...))
}

// Quiet runs a command for its effect.
func Quiet(ctx context.Context, argv ...string) error {
	_, err := Output(ctx, argv...)
	return err
}

// Command runs a prepared command and returns its standard output.
func Command(command *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s: %w%s", strings.Join(command.Args, " "), err, said(stderr.String(), stdout.String()))
	}
	return stdout.String(), nil
}

// said renders the end of a failed command's output, which says what went wrong.
func said(streams ...string) string {
	for _, text := range streams {
		text = strings.TrimSpace(text)
		if len(text) > keptOutput {
			text = "..." + text[len(text)-keptOutput:]
		}
		if text != "" {
			return ": " + text
		}
	}
	return ""
}
