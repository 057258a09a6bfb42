package mirror

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// movingTries is how many passes Once makes at most if the source changes meanwhile.
const movingTries = 3

// Once makes Dest equal to Source with one pass and writes the summary line to Out. At most
// twice, another pass follows: for what changed at the source while the pass ran, and for
// what did not fit on a full disk, if deletions then made room. The error carries an exit
// code: the highest one if there are several causes.
func Once(ctx context.Context, c Config) error {
	if err := firstLook(ctx, c); err != nil {
		return err
	}
	m, err := open(c)
	if err != nil {
		return err
	}
	defer m.close()
	m.printer = m.config.newPrinter()
	m.config.Ready()
	return errors.Join(m.passes(ctx), m.printer.CloseAll(ctx))
}

// passes runs the passes of Once.
func (m *mirror) passes(ctx context.Context) error {
	defer func() { expireBackups(ctx, m.replica.Backup, m.config.Log) }()
	var total pass.Result
	for try := 1; ; try++ {
		r, err := m.once(ctx)
		if r != nil {
			total.Add(r)
		}
		stuck := r != nil && r.Failed+r.Held > 0 && !r.MadeRoom() && !m.several.IsLost()
		if err != nil || r.Complete || stuck || try == movingTries || m.config.DryRun {
			if r != nil {
				m.summary(&total)
				if !m.config.DryRun {
					m.replica.StoreConfirmed()
				}
			}
			if err == nil && !m.config.DryRun {
				err = total.Unfinished()
			}
			return errors.Join(append(total.Errs, err, total.Verdict())...)
		}
	}
}

// firstLook asks for the root if the copy does not exist yet: a wrong address must not
// leave an empty copy.
func firstLook(ctx context.Context, c Config) error {
	if root, err := disk.OpenRoot(c.Dest); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			_ = root.Close()
		}
		return nil
	}
	c = c.withDefaults()
	if _, err := c.compile(); err != nil {
		return err // wrong options are reported before a source that is away
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

// once asks for the root, runs a pass and then the hook.
func (m *mirror) once(ctx context.Context) (*pass.Result, error) {
	a, err := m.source.Root(ctx, source.Poll{})
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	r, err := m.pass(ctx, a, m.fullDue())
	if r != nil && !m.config.DryRun {
		m.hook.note(r)
	}
	if err == nil {
		err = m.hook.run(ctx, m.replica)
	}
	return r, err
}

// tell writes the line of a pass into the output, or into the log if the output has lines of --print.
func (m *mirror) tell(r *pass.Result) {
	if m.printer != nil || !m.config.Quiet {
		m.config.say(strings.TrimSuffix(r.Line(), "\n"))
	}
}

// summary writes the line that ends a pass.
func (m *mirror) summary(r *pass.Result) {
	if !m.config.DryRun && m.config.Log != nil && r.Unsettled > 0 {
		m.config.Log.Warn("files that would not hold still were kept as read", "count", r.Unsettled,
			"remedy", "run mirror again when nobody writes them")
	}
	m.tell(r)
}
