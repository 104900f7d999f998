package node

import (
	"errors"
	"sync"
)

// parallel does pieces of work side by side and waits for all of them.
func parallel(work ...func() error) error {
	problems := make([]error, len(work))
	var all sync.WaitGroup
	for i, piece := range work {
		all.Add(1)
		go func() {
			defer all.Done()
			problems[i] = piece()
		}()
	}
	all.Wait()
	return errors.Join(problems...)
}
