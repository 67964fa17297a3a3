package proxy

import (
	"os/exec"
	"runtime"
	"sync"
)

// requests are done by one thread that lives as long as the process does: the kernel sends a
// child's death signal when the thread that started it ends.
var requests = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for request := range c {
			request()
		}
	}()
	return c
})

func start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	requests() <- func() { result <- cmd.Start() }
	return <-result
}
