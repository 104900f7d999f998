package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// tailWindow is how far back from a log's end Tail looks: more than a reader wants at once.
const tailWindow = 64 << 10

// Tail returns the last lines of a file, each indented, or a sentence where the file is empty.
func Tail(path string, lines int) string {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Sprintf("  (no log: %v)", err)
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		_, err = file.Seek(max(size-tailWindow, 0), io.SeekStart)
		if err != nil {
			return fmt.Sprintf("  (cannot read %s: %v)", path, err)
		}
	}
	raw, err := io.ReadAll(file)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Sprintf("  (cannot read %s: %v)", path, err)
	}
	raw = bytes.TrimRight(raw, "\n")
	if len(raw) == 0 {
		return "  (it said nothing)"
	}
	all := strings.Split(string(raw), "\n")
	return "  " + strings.Join(all[max(len(all)-lines, 0):], "\n  ")
}
