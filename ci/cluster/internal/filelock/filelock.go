// Package filelock lets one run at a time work on a file or folder.
package filelock

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Hold waits until no other run holds the file or folder at a path. Closing what it returns releases it.
func Hold(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}
