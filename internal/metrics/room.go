package metrics

import (
	"sync"
	"syscall"
	"time"
)

// room tells how much room the file system of a path has. Any goroutine may use it.
type room struct {
	path string

	mu      sync.Mutex
	asking  chan struct{}     // closed when the question under way is answered; nil: none is
	latest  *syscall.Statfs_t // the last answer; nil: there is none
	patient time.Duration     // how long an answer is waited for; 0: a second
}

// each yields the room of the file system, nothing if it is not known. A network file system that
// hangs is asked once, however often each is called, and each does not wait for it for long: other metrics
// have to arrive.
func (r *room) each(yield func(name, help string, value float64)) {
	s := r.ask()
	if s == nil {
		return
	}
	block := float64(s.Frsize)
	yield("filesystem_size_bytes", "Size of the file system that is written to.", block*float64(s.Blocks))
	yield("filesystem_avail_bytes", "Room that is left on the file system that is written to, for users other than root.", block*float64(s.Bavail))
	if s.Files > 0 { // btrfs has no such bound
		yield("filesystem_files", "How many files and directories the file system that is written to can have.", float64(s.Files))
		yield("filesystem_files_free", "How many more files and directories the file system that is written to can have.", float64(s.Ffree))
	}
}

// ask returns how the file system stands; nil: it is not known.
func (r *room) ask() *syscall.Statfs_t {
	r.mu.Lock()
	if r.asking == nil {
		r.asking = make(chan struct{})
		go r.statfs(r.asking)
	}
	asked, patience := r.asking, r.patient
	r.mu.Unlock()
	if patience == 0 {
		patience = time.Second
	}
	select {
	case <-asked:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.latest
	case <-time.After(patience):
		return nil // what was known before may be long ago
	}
}

// statfs asks the kernel, and closes asked.
func (r *room) statfs(asked chan struct{}) {
	var s syscall.Statfs_t
	err := syscall.Statfs(r.path, &s)
	for err == syscall.EINTR {
		err = syscall.Statfs(r.path, &s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking, r.latest = nil, nil
	if err == nil {
		r.latest = &s
	}
	close(asked)
}
