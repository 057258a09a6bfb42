package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/outlet"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
)

// pipe is a reader that takes a write for each value of turns.
type pipe struct {
	turns chan error
	out   bytes.Buffer
}

func (p *pipe) Write(text []byte) (int, error) {
	if err := <-p.turns; err != nil {
		return 0, err
	}
	return p.out.Write(text)
}

// some returns lines of a stamp.
func some(n int, at int64) (lines []Line) {
	for range n {
		lines = append(lines, Line{Stamp: mtree.Unix(at, 0), Action: Create, Path: strings.Repeat("p", 100)})
	}
	return lines
}

// A reader that stands still costs a bounded amount of memory and no time. It is told how much it lost.
func TestASlowReaderLosesLines(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var lost atomic.Int64
			var log bytes.Buffer
			reader := &pipe{turns: make(chan error, 100)}
			p := NewPrinter(reader, asJSON, slog.New(slog.NewTextHandler(&log, nil)), &lost)
			start := time.Now()
			p.Print(some(1, 1))
			synctest.Wait() // it is being written
			const many = 200_000
			for range many / 1000 {
				p.Print(some(1000, 2))
			}
			require.Zero(t, time.Since(start))
			require.NoError(t, p.Err())
			p.Print(some(1, 3))
			gone := lost.Load()
			require.Positive(t, gone)
			require.Less(t, gone, int64(many))
			require.Equal(t, 1, strings.Count(log.String(), "reader is too slow"), "it is logged, and not for each line")
			reader.turns <- nil
			reader.turns <- nil
			synctest.Wait()
			p.Print(some(1, 4)) // the reader has caught up
			reader.turns <- nil
			left, err := p.Close(t.Context(), time.Minute)
			require.NoError(t, err)
			require.Zero(t, left)

			lines := strings.Split(strings.TrimSuffix(reader.out.String(), "\n"), "\n")
			require.Len(t, lines, 1+many-int(gone)+1+1+1)
			said := lines[len(lines)-2]
			if asJSON {
				var is struct {
					Stamp string
					Lost  int64
				}
				require.NoError(t, json.Unmarshal([]byte(said), &is))
				require.Equal(t, "3.000000000", is.Stamp)
				require.Equal(t, gone, is.Lost)
			} else {
				require.Regexp(t, `^3\.000000000\tlost \d+ lines$`, said)
			}
			require.LessOrEqual(t, reader.out.Len(), 2*outlet.PrintBound)
		})
	}
}

// What the reader does not take of a single pass is an error; a mirror that is stopped waits for a second.
func TestWhatTheReaderLeaves(t *testing.T) {
	for name, stopped := range map[string]bool{"once": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				reader := &pipe{turns: make(chan error, 1)}
				p := NewPrinter(reader, false, slog.New(slog.DiscardHandler), new(atomic.Int64))
				p.Print(some(3, 1))
				start := time.Now()
				if stopped {
					cancel()
					require.NoError(t, p.CloseAll(ctx))
					require.Equal(t, outlet.Grace, time.Since(start))
				} else {
					err := p.CloseAll(ctx)
					require.Equal(t, exit.Failed, exit.Of(err))
					require.ErrorContains(t, err, "the last 3 lines")
					require.Equal(t, outlet.OncePatience, time.Since(start))
				}
				reader.turns <- nil // so that its goroutine ends
			})
		})
	}
}

func TestTheReaderIsGone(t *testing.T) {
	reader := &pipe{turns: make(chan error, 1)}
	p := NewPrinter(reader, false, slog.New(slog.DiscardHandler), new(atomic.Int64))
	reader.turns <- errors.New("no space")
	p.Print(some(3, 1))
	_, err := p.Close(t.Context(), time.Minute)
	require.ErrorContains(t, err, "--print: no space")
	require.Equal(t, exit.Local, exit.Of(err))
	require.Equal(t, err, p.Err())
	p.Print(some(3, 1))
	require.Equal(t, err, p.Err())
}

func TestNoPrinter(t *testing.T) {
	p := NewPrinter(nil, false, nil, nil)
	require.Nil(t, p)
	p.Print(some(1, 1))
	require.NoError(t, p.Err())
	require.NoError(t, p.CloseAll(t.Context()))
}
