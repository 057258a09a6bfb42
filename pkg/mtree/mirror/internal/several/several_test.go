package several

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/wire"
)

var long = source.Poll{Wait: time.Minute}

// A source that is named wrong is an error at once, and one that cannot be opened may come later.
func TestSourcesThatCannotBeOpened(t *testing.T) {
	b := &bench{t: t, fakes: []*fake{{}, {}, {}}}
	judge := func(*source.Root, int, bool) error { return nil }
	for _, c := range []struct {
		err  error
		code exit.Code
	}{{exit.With(exit.Usage, errAway, ""), exit.Usage}, {refusal("no"), exit.Refused}, {errAway, 0}} {
		b.fakes[1].openErr = c.err
		b.fakes[0].closed, b.fakes[2].opened = 0, 0
		s, err := Open(b.config(), judge)
		if c.code == 0 {
			require.NoError(t, err)
			require.Equal(t, []string{"a", "b", "c"}, s.Names())
			require.Equal(t, 1, b.fakes[2].opened)
			require.Empty(t, s.Name())
			require.False(t, s.Renewed())
			require.False(t, s.StandsIn(&source.Root{}))
			s.Close()
			s.Close()
			require.Equal(t, 1, b.fakes[0].closed)
			continue
		}
		require.Equal(t, c.code, exit.Of(err))
		require.Equal(t, 1, b.fakes[0].closed)
		require.Zero(t, b.fakes[2].opened)
	}
	config := b.config()
	config.List[1].Name, config.List[1].Open = "c", config.List[0].Open
	_, err := Open(config, judge)
	require.Equal(t, exit.Usage, exit.Of(err))
	require.ErrorContains(t, err, "is given twice")
}

// Each cause has one text: it is written to disk if it changes.
func TestCauses(t *testing.T) {
	for _, c := range []struct {
		err  error
		text string
	}{
		{&remote.StatusError{Status: 404}, "it answers 404 Not Found"}, {errAway, "it answers 503 Service Unavailable"},
		{fmt.Errorf("x: %w", mtree.ErrListing), "it gives no listing"}, {errDown, "it does not answer"},
		{exit.With(exit.Unreachable, errors.New("x"), ""), "it does not answer"}, {context.DeadlineExceeded, "it does not answer"}, {errors.New("x"), "it cannot be read"},
	} {
		require.Equal(t, c.text, causeText(c.err))
	}
}

// The first that answers is used, and the copy is told how all stand.
func TestTheFirstThatAnswersIsUsed(t *testing.T) {
	with(t, 3, func(t *testing.T, b *bench) {
		began := b.c.Now()
		b.fakes[0].err = errDown
		b.gives("b", false, source.Poll{})
		state := func(name string, used bool, why string) replica.SourceState {
			return replica.SourceState{Name: name, Used: used, Since: began, Why: why}
		}
		require.Equal(t, [][]replica.SourceState{{state("a", false, "it does not answer"), state("b", true, ""), state("c", false, "")}}, b.reported)
		require.Zero(t, b.fakes[2].asked())
		require.Zero(t, b.changes.Load())
		require.Contains(t, b.log.String(), "source=b number=2 of=3")
		<-time.After(time.Second)
		b.gives("b", false, source.Poll{})
		require.Len(t, b.reported, 1, "nothing changed")
		require.Equal(t, 1, b.fakes[1].opened)
		b.fakes[1].err = errDown
		b.gives("c", true, source.Poll{})
		require.EqualValues(t, 1, b.changes.Load())
		require.Equal(t, "it does not answer", b.reported[1][1].Why)
		require.False(t, b.reported[1][1].Used)
		require.Equal(t, began.Add(time.Second+RestartPause), b.reported[1][2].Since)
		require.Contains(t, b.log.String(), "level=WARN msg=\"another source is used\" source=c number=3 before=b why=\"it does not answer\"")
		b.fakes[2].err = errDown
		_, err := b.ask(source.Poll{})
		require.Error(t, err)
		require.False(t, b.reported[2][2].Used)
		b.Report, b.fakes[2].err = nil, nil
		b.gives("c", false, source.Poll{})
	})
}

// A server that is restarted is asked once more, and stays.
func TestASourceThatIsRestarted(t *testing.T) {
	with(t, 2, func(t *testing.T, b *bench) {
		b.gives("a", false, source.Poll{})
		b.fakes[0].asked()
		began := time.Now()
		b.fakes[0].errs = []error{errDown}
		b.gives("a", false, source.Poll{})
		require.Equal(t, RestartPause, time.Since(began))
		require.Equal(t, 2, b.fakes[0].asked())
		b.fakes[0].errs = []error{errDown, errDown, nil}
		b.gives("b", true, source.Poll{Once: true})
		require.True(t, b.fakes[0].polls[1].Once)
		require.Equal(t, 2, b.fakes[0].asked(), "it was asked this moment")
		require.Equal(t, []source.Poll{{Once: true}}, b.fakes[1].polls)
		require.Equal(t, 1, b.fakes[0].closed)
		require.Zero(t, b.fakes[1].closed)
	})
	with(t, 2, func(t *testing.T, b *bench) {
		b.gives("a", false, source.Poll{})
		b.fakes[0].errs = []error{source.ErrOtherDirectory, source.ErrOtherDirectory, nil}
		b.gives("a", false, source.Poll{})
		require.Equal(t, 4, b.fakes[0].asked(), "of a directory that was mounted anew the second answer counts")
	})
	with(t, 1, func(t *testing.T, b *bench) {
		b.fakes[0].set(func(f *fake) { f.openErr = errDown })
		b.Close()
		_, err := b.ask(source.Poll{})
		require.Error(t, err)
		require.Zero(t, b.fakes[0].asked())
		b.fakes[0].openErr = nil
		b.gives("a", false, source.Poll{})
		require.Equal(t, 3, b.fakes[0].opened)
		b.gives("a", false, source.Poll{})
		require.Equal(t, 3, b.fakes[0].opened)
	})
}

// A source that may not be used is left, and the error says of each why.
func TestSourcesThatAreRefused(t *testing.T) {
	with(t, 2, func(t *testing.T, b *bench) {
		b.refused["a"], b.refused["b"] = refusal("too old"), refusal("another tree")
		_, err := b.ask(source.Poll{})
		require.Equal(t, exit.Refused, exit.Of(err))
		require.EqualError(t, err, "none of the sources can be used: a: too old; b: another tree")
		require.Zero(t, b.number.Load())
		require.Equal(t, "too old", b.reported[0][0].Why)
		b.fakes[1].err = errAway
		_, err = b.ask(source.Poll{})
		require.Equal(t, exit.Unreachable, exit.Of(err))
		require.ErrorIs(t, err, errAway)
		delete(b.refused, "a")
		b.gives("a", false, source.Poll{})
		b.refused["a"] = errors.New("too old now")
		b.fakes[1].err = nil
		delete(b.refused, "b")
		b.gives("b", true, source.Poll{})
		require.Contains(t, b.log.String(), "why=\"too old now\"")
		b.fakes[1].set(func(f *fake) { f.root.Fingerprint = "c" })
		b.refused["c"] = errors.New("not this")
		_, err = b.ask(source.Poll{})
		require.EqualError(t, err, "none of the sources can be used: a: too old now; b: not this")
		require.Zero(t, b.number.Load())
		delete(b.refused, "a")
		b.gives("a", true, source.Poll{})
		require.Contains(t, b.log.String(), "level=INFO msg=\"another source is used\" source=a number=1 before=b why=\"not this\"")
	})
}

// A copy that no mirror keeps is used if there is no other, and left when there is.
func TestSourcesThatNoMirrorKeeps(t *testing.T) {
	stale := func(b *bench, number int, yes bool) {
		b.fakes[number].set(func(f *fake) {
			f.root.State = ""
			if yes {
				f.root.State = wire.Stale
			}
		})
	}
	with(t, 3, func(t *testing.T, b *bench) {
		stale(b, 0, true)
		stale(b, 1, true)
		b.gives("c", false, source.Poll{})
		began := time.Now()
		b.gives("c", false, long)
		require.Equal(t, time.Minute, time.Since(began), "it brings no news, and is not used for that")
		stale(b, 2, true)
		b.gives("c", false, source.Poll{})
		b.gives("a", true, long)
		require.Contains(t, b.log.String(), "source=a number=1 before=c why=\"no mirror keeps the one before\"")
		b.fakes[1].asked()
		b.gives("a", false, long)
		require.NotZero(t, b.fakes[1].asked(), "all others are preferred")
		require.Zero(t, b.fakes[1].closed)
		require.Equal(t, 1, b.fakes[0].most, "it is asked already")
		stale(b, 2, false)
		b.gives("c", true, long)
		require.Contains(t, b.log.String(), "level=WARN msg=\"another source is used\" source=c number=3 before=a why=\"no mirror keeps the one before\"")
	})
	with(t, 2, func(t *testing.T, b *bench) {
		stale(b, 0, true)
		stale(b, 1, true)
		b.gives("a", false, source.Poll{})
	})
}

// Preferred sources are asked again after a second, then less and less often.
func TestWhenPreferredSourcesAreAsked(t *testing.T) {
	with(t, 3, func(t *testing.T, b *bench) {
		b.fakes[0].err = errDown
		b.gives("b", false, long)
		b.fakes[0].asked()
		for _, want := range []int{5, 1, 1, 1} { // after 1, 3, 7, 15, 31, 63, 123 and 183 seconds
			began := time.Now()
			b.gives("b", false, long)
			require.Equal(t, time.Minute, time.Since(began))
			require.Equal(t, want, b.fakes[0].asked())
		}
		require.Zero(t, b.fakes[2].asked(), "it is not preferred")
		<-time.After(time.Minute)
		b.gives("b", false, source.Poll{})
		require.Zero(t, b.fakes[0].asked(), "nobody waits")
		b.fakes[1].errs = []error{errAway}
		b.gives("b", false, long)
		b.fakes[0].set(func(f *fake) { f.err = nil })
		b.judged = nil
		b.gives("a", true, source.Poll{Wait: time.Hour})
		require.False(t, b.fakes[1].cut, "it was asked for nothing any more when it was closed")
		require.Equal(t, 1, b.fakes[1].closed)
		require.Contains(t, b.log.String(), "why=\"source 1 is preferred and can be used again\"")
		require.Equal(t, []string{"a0 true"}, b.judged, "once")
		b.fakes[0].asked()
		b.fakes[1].asked()
		due := b.due
		b.gives("a", false, long)
		require.Equal(t, 1, b.fakes[0].asked())
		require.Zero(t, b.fakes[1].asked())
		require.Equal(t, due, b.due, "none is preferred to it")
	})
}

// returns lets the first source fail, and come back when it is asked. It returns how long that took.
func (b *bench) returns() time.Duration {
	b.t.Helper()
	b.fakes[0].set(func(f *fake) { f.err = errDown })
	b.gives("b", true, source.Poll{})
	b.fakes[0].set(func(f *fake) { f.err = nil })
	began := time.Now()
	b.gives("a", true, source.Poll{Wait: time.Hour})
	return time.Since(began)
}

// A source that comes and goes is asked less often.
func TestASourceThatComesAndGoes(t *testing.T) {
	with(t, 2, func(t *testing.T, b *bench) {
		b.gives("a", false, source.Poll{})
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			require.Equal(t, want*time.Second, b.returns())
		}
		<-time.After(calm)
		require.Equal(t, time.Second, b.returns())
	})
}

// A probe asks each preferred source, and is waited for before something else asks them.
func TestAProbeIsEnded(t *testing.T) {
	with(t, 2, func(t *testing.T, b *bench) {
		b.fakes[0].err = errDown
		b.gives("b", false, source.Poll{})
		b.fakes[0].set(func(f *fake) { f.err, f.takes = nil, 10*time.Second })
		short := source.Poll{Wait: 5 * time.Second}
		b.gives("b", false, short)
		b.gives("b", false, source.Poll{Wait: time.Second})
		b.gives("b", false, source.Poll{})
		require.NotNil(t, b.probing)
		b.fakes[1].err = errDown
		b.fakes[0].set(func(f *fake) { f.takes = 0 })
		began := time.Now()
		b.gives("a", true, source.Poll{})
		require.Equal(t, RestartPause, time.Since(began), "nobody waits for what it would say")
		require.Equal(t, 1, b.fakes[0].most)
		require.Nil(t, b.probing)
		require.Zero(t, b.fakes[0].polling)
		require.False(t, b.fakes[0].cut)
	})
	with(t, 2, func(t *testing.T, b *bench) {
		b.fakes[0].err = errDown
		b.gives("b", false, source.Poll{})
		b.fakes[0].set(func(f *fake) { f.err, f.takes = nil, 4*time.Second })
		for _, refused := range []error{refusal("too old"), nil} {
			b.refused["a"] = refused
			b.gives("b", false, source.Poll{Wait: 3 * time.Second})
			<-time.After(5 * time.Second)
			synctest.Wait()
			require.NotNil(t, b.probing)
			if refused != nil {
				b.gives("b", false, source.Poll{})
			}
		}
		b.gives("a", true, source.Poll{})
	})
	with(t, 2, func(t *testing.T, b *bench) {
		b.fakes[0].err = errDown
		b.gives("b", false, source.Poll{})
		b.fakes[0].set(func(f *fake) { f.err, f.takes = nil, 10*time.Second })
		b.gives("b", false, source.Poll{Wait: 5 * time.Second})
		b.Close()
		require.False(t, b.fakes[0].cut)
		require.Equal(t, 1, b.fakes[0].closed)
	})
	with(t, 2, func(t *testing.T, b *bench) { // it answers a probe, and may not be used
		b.fakes[0].err = errDown
		b.gives("b", false, source.Poll{})
		b.fakes[0].set(func(f *fake) { f.err = nil })
		b.refused["a"] = refusal("too old")
		reports := len(b.reported)
		b.fakes[1].set(func(f *fake) { f.on = func() { require.Greater(t, len(b.reported), reports, "it is told at once") } })
		b.gives("b", false, long)
		require.Equal(t, "too old", b.reported[len(b.reported)-1][0].Why)
		b.gives("b", false, source.Poll{})
	})
}

// Who ends a pass gets that for an answer, and nothing is noted of the sources.
func TestAQuestionThatIsEnded(t *testing.T) {
	with(t, 2, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.fakes[0].takes, b.fakes[1].takes = time.Second, time.Second
		_, err := b.Root(ctx, source.Poll{})
		require.Equal(t, context.Canceled, err)
		require.Empty(t, b.reported[0][0].Why)
		require.Zero(t, b.fakes[1].asked())
		b.gives("a", false, source.Poll{})
		b.fakes[0].asked()
		_, err = b.Root(ctx, source.Poll{})
		require.ErrorIs(t, err, context.Canceled)
		require.EqualValues(t, 1, b.number.Load())
		require.Equal(t, 1, b.fakes[0].asked())
		require.Empty(t, b.list[0].why)
	})
	with(t, 2, func(t *testing.T, b *bench) {
		b.fakes[0].err = errDown
		b.gives("b", false, source.Poll{})
		b.refused["a"] = refusal("too old")
		ctx, cancel := context.WithCancel(t.Context())
		b.fakes[0].set(func(f *fake) {
			f.err = nil
			f.polls = nil
			f.on = func() {
				if len(f.polls) == 2 { // after the probe
					cancel()
				}
			}
		})
		_, err := b.Root(ctx, long)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, "b", b.Name())
	})
	with(t, 2, func(t *testing.T, b *bench) {
		b.fakes[0].takes = 2 * AskTime
		began := time.Now()
		b.gives("b", false, source.Poll{})
		require.Equal(t, AskTime, time.Since(began))
		require.Equal(t, "it does not answer", b.reported[0][0].Why)
	})
	with(t, 2, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithCancel(t.Context())
		b.fakes[0].on = cancel
		_, err := b.Root(ctx, source.Poll{})
		require.Equal(t, context.Canceled, err, "it answered, but nobody waits")
	})
}

// What a pass asks for goes to the source that is used, until that is lost.
func TestWhatTheSourceGives(t *testing.T) {
	with(t, 2, func(t *testing.T, b *bench) {
		b.gives("a", false, source.Poll{})
		ctx, f := t.Context(), b.fakes[0]
		all := func() (errs []error) {
			_, err := b.List(ctx, "", mtree.Stamp{})
			errs = append(errs, err)
			_, err = b.Part(ctx, "", mtree.Stamp{})
			errs = append(errs, err)
			_, err = b.Sums(ctx, nil)
			return append(errs, err)
		}
		l, err := b.List(ctx, "", mtree.Stamp{})
		require.NoError(t, err)
		require.Equal(t, "listed", l.Fingerprint)
		l, err = b.Part(ctx, "", mtree.Stamp{})
		require.NoError(t, err)
		require.Equal(t, "part", l.Fingerprint)
		sums, err := b.Sums(ctx, nil)
		require.NoError(t, err)
		require.Len(t, sums, 1)
		require.True(t, b.Serves(ctx, "", nil))
		require.True(t, b.Renewed())
		f.err = errAway
		require.Equal(t, []error{errAway, errAway, errAway}, all())
		require.False(t, b.Serves(ctx, "", nil))
		require.False(t, b.Renewed())
		require.False(t, b.IsLost())
		for i := range 3 {
			b.down = false
			f.err = errDown
			require.Equal(t, errDown, []func() error{
				func() error { _, err := b.List(ctx, "", mtree.Stamp{}); return err },
				func() error { _, err := b.Part(ctx, "", mtree.Stamp{}); return err },
				func() error { _, err := b.Sums(ctx, nil); return err },
			}[i]())
			require.True(t, b.IsLost())
			f.err = nil
			require.Equal(t, []error{source.ErrLost, source.ErrLost, source.ErrLost}, all())
			require.False(t, b.Serves(ctx, "", nil))
		}
		b.gives("a", false, source.Poll{})
		require.False(t, b.IsLost())
		b.list[0].close()
		require.False(t, b.Renewed())
		require.False(t, (*Sources)(nil).IsLost())
	})
}

// Of files that are fetched each gets one answer, also when the source is lost on the way.
func TestFilesOfASourceThatIsLost(t *testing.T) {
	with(t, 1, func(t *testing.T, b *bench) {
		b.gives("a", false, source.Poll{})
		f := b.fakes[0]
		fetch := func(most int) (got []string) {
			f.fetched = 0
			for i, file := range b.Fetch(t.Context(), make([]source.Wanted, 3)) {
				got = append(got, strings.TrimSpace(fmt.Sprint(i, " ", file.Err == source.ErrLost)))
				if len(got) == most {
					break
				}
			}
			return got
		}
		f.files = []error{nil, errAway, nil}
		require.Equal(t, []string{"0 false", "1 false", "2 false"}, fetch(9))
		require.Len(t, fetch(1), 1)
		require.Equal(t, 1, f.fetched)
		f.files = []error{nil, errDown, nil}
		require.Equal(t, []string{"0 false", "1 false", "2 true"}, fetch(9))
		require.Equal(t, 2, f.fetched)
		require.Equal(t, []string{"0 true", "1 true", "2 true"}, fetch(9))
		require.Equal(t, []string{"0 true", "1 true"}, fetch(2))
		require.Zero(t, f.fetched)
	})
}

// A copy stands in for the first source unless it shows what that one shows.
func TestWhichSourceStandsIn(t *testing.T) {
	with(t, 2, func(t *testing.T, b *bench) {
		root := func(shows, upstreams string) *source.Root {
			return &source.Root{Dir: source.Dir{Fingerprint: shows}, Upstreams: upstreams}
		}
		require.False(t, b.StandsIn(root("x", "up")), "none is used")
		require.False(t, (*Sources)(nil).StandsIn(root("x", "up")))
		b.used = 1
		require.True(t, b.StandsIn(root("x", "up")), "nobody knows what the first one shows")
		require.True(t, b.StandsIn(root("", "up")))
		b.used = 0
		require.False(t, b.StandsIn(root("", "up")))
		require.False(t, b.StandsIn(root("x", "up")), "it is the first one")
		require.False(t, b.StandsIn(root("y", "up")))
		b.used = 1
		require.False(t, b.StandsIn(root("y", "up")), "it shows the same")
		require.True(t, b.StandsIn(root("x", "up")))
		require.False(t, b.StandsIn(root("x", "")), "it is no copy")
		b.used = -1
	})
}
