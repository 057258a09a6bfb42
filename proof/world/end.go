package world

import (
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// terminate ends a program in an orderly way, or it is a finding.
func (w *World) terminate(name string) error {
	p := w.programs[name]
	select {
	case <-p.ready():
	case <-p.done():
	case <-time.After(patience):
	}
	early := false // before it was ready a signal ends it as any program
	select {
	case <-p.readyOnce():
	default:
		early = true
	}
	if err := p.terminate(); err != nil && !early && !w.explained(p) {
		w.finding("no-orderly-end", "%s: %s", name, tail(err.Error(), 800))
	}
	return nil
}

// explained reports whether the world explains that the program did not end with 0.
func (w *World) explained(p *program) bool {
	_, ok := w.remedy(p, p.said(), p.code())
	return ok
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// readyOnce is closed once the program was ready.
func (p *program) readyOnce() chan struct{} {
	if p.process == nil {
		return closed
	}
	return p.process.Ready
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *program) ready() chan struct{} {
	if !p.alive() || p.frozen {
		return closed
	}
	return p.process.Ready
}

func (p *program) done() chan struct{} {
	if !p.alive() {
		return closed
	}
	return p.process.Done
}

// endBy ends a program in one of two ways.
func (w *World) endBy(name, how string) error {
	if how == "kill" {
		w.programs[name].kill()
		return nil
	}
	return w.terminate(name)
}

// startAll starts what is down.
func (w *World) startAll() error {
	var errs []error
	for _, name := range names {
		errs = append(errs, w.start(name))
	}
	return errors.Join(errs...)
}

// thaw continues what was stopped.
func (w *World) thaw() {
	for _, p := range w.programs {
		if p.frozen {
			p.signal(syscall.SIGCONT)
			p.frozen = false
		}
	}
}

// thawSoon continues what was stopped in a moment. mirror --once waits two minutes for a server
// that stands still: longer than a world does.
func (w *World) thawSoon() (done <-chan struct{}) {
	ended := make(chan struct{})
	time.AfterFunc(300*time.Millisecond, func() {
		defer close(ended)
		w.thaw()
	})
	return ended
}

// hangUp asks watch for an audit, if it takes signals: one that was stopped while it starts
// would end by it.
func (w *World) hangUp() {
	p := w.programs["watch"]
	if p.frozen && !isClosed(p.readyOnce()) {
		return
	}
	select {
	case <-p.ready():
		p.signal(syscall.SIGHUP)
	case <-p.done():
	case <-time.After(patience):
	}
}

// unfree removes what chattr set.
func (w *World) unfree() {
	if w.faults.immutable {
		_ = exec.Command("chattr", "-R", "-f", "-i", w.src).Run()
		w.faults.immutable = false
	}
}
