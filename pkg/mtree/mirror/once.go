package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"tidemark/pkg/mtree/exit"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// movingTries is how many passes Once makes, at most, because the source
// changed under the one before.
const movingTries = 3

// Once makes Dest equal to Source with one pass and writes the summary line to
// Out. Where the source changed under it, it looks again at what moved, and on a
// full disk, once deletions made room, at what did not fit; twice at most. The error carries an exit code: of several causes the highest.
func Once(ctx context.Context, c Config) error {
	if err := firstLook(ctx, c); err != nil {
		return err
	}
	m, err := open(c)
	if err != nil {
		return err
	}
	defer m.close()
	m.config.Ready()
	var total result
	for try := 1; ; try++ {
		r, err := m.once(ctx)
		if r != nil {
			total.add(r)
		}
		stuck := r != nil && r.failed+r.held > 0 && !r.madeRoom()
		if err != nil || r.complete || stuck || try == movingTries || m.config.DryRun {
			if r != nil {
				m.summary(&total)
				if !m.config.DryRun {
					m.dest.StoreConfirmed()
				}
			}
			if err == nil && !m.config.DryRun {
				err = total.unfinished()
			}
			return errors.Join(append(total.errs, err, total.verdict())...)
		}
	}
}

// firstLook asks for the root before a copy that is not there yet is made: a
// wrong address must not leave an empty one behind.
func firstLook(ctx context.Context, c Config) error {
	if _, err := os.Lstat(c.Dest); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c = c.withDefaults()
	if _, err := c.compile(); err != nil {
		return err // wrong options are told before a source that is away
	}
	s, err := openSource(&c)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Root(ctx, source.Poll{}); err != nil {
		return unreachable(ctx, err)
	}
	return nil
}

func (m *mirror) once(ctx context.Context) (*result, error) {
	a, err := m.source.Root(ctx, source.Poll{})
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	r, err := m.pass(ctx, a, m.fullDue())
	if r != nil && !m.config.DryRun {
		m.hookDue = m.hookDue || r.changed
	}
	if err == nil {
		err = m.hook(ctx)
	}
	return r, err
}

// add sums up passes; what describes a state is the last one's.
func (r *result) add(last *result) {
	r.listed += last.listed
	r.fetched += last.fetched
	r.bytes += last.bytes
	r.deleted += last.deleted
	r.skipped += last.skipped
	r.took += last.took
	r.held, r.failed, r.unsettled, r.moved = last.held, last.failed, last.unsettled, last.moved
	r.heldWhy, r.errs, r.root, r.complete = last.heldWhy, last.errs, last.root, last.complete
}

// verdict is the error that a pass's result amounts to, its failures apart.
func (r *result) verdict() error {
	switch {
	case r.held > 0:
		return exit.With(exit.Held, fmt.Errorf("%d deletions held: %s", r.held, r.heldWhy),
			"look at mirror --status DEST; mirror --release DEST carries them out")
	case r.moved > 0 && r.failed == 0:
		return exit.With(exit.Failed, fmt.Errorf("%d entries changed or vanished while they were fetched", r.moved), "run again")
	}
	return nil
}

// unfinished is the error of a copy that is incomplete though nothing in it
// failed: directories that changed while they were listed, or that the source,
// itself a copy, has not completed. Files kept as read are no such thing.
func (r *result) unfinished() error {
	if r.complete || r.held+r.failed+r.moved+r.unsettled > 0 {
		return nil
	}
	return exit.With(exit.Failed, errors.New("the copy is incomplete: the source is changing or incomplete"), "run again")
}

// summary writes the line that ends a pass.
func (m *mirror) summary(r *result) {
	if !m.config.DryRun && m.config.Log != nil && r.unsettled > 0 {
		m.config.Log.Warn("files that would not hold still were kept as read", "count", r.unsettled)
	}
	_, _ = io.WriteString(m.config.Out, r.line())
}

func (r *result) line() string {
	return fmt.Sprintf("listed %d directories, fetched %d files (%d bytes), deleted %d, held %d, skipped %d, failed %d, in %s; root %s\n",
		r.listed, r.fetched, r.bytes, r.deleted, r.held, r.skipped, r.failed, r.took.Round(time.Millisecond), r.root)
}
