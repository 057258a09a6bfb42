package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

const aSum = "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4"

func TestReadBlocks(t *testing.T) {
	of := wire.BlocksOf{Path: "a b", Block: 65536}
	head := "1795845050.678944529 65537 1795845050.678944530 65536 a%20b\n"
	sum := aSum + "\n"
	for name, c := range map[string]struct {
		text    string
		sums    int
		changed bool
		err     error
	}{
		"whole":               {text: head + sum + sum + "\n", sums: 2},
		"an empty file":       {text: strings.Replace(head, "65537", "0", 1) + "\n"},
		"changed":             {text: head + sum + sum + "changed\n", sums: 2, changed: true},
		"changed early":       {text: head + sum + "changed\n", sums: 1, changed: true},
		"changed at once":     {text: head + "changed\n", changed: true},
		"nothing":             {text: "", err: wire.ErrNoBlocks},
		"cut in the head":     {text: head[:9], err: io.ErrUnexpectedEOF},
		"cut after the head":  {text: head, err: io.ErrUnexpectedEOF},
		"cut in a sum":        {text: head + sum[:9], err: io.ErrUnexpectedEOF},
		"no end":              {text: head + sum + sum, err: io.ErrUnexpectedEOF},
		"too few":             {text: head + sum + "\n", err: wire.ErrBlocks},
		"too many":            {text: head + sum + sum + sum + "\n", err: wire.ErrBlocks},
		"another file":        {text: head + sum + sum + "\n" + head, err: wire.ErrBlocks},
		"a short sum":         {text: head + sum[2:] + sum + "\n", err: wire.ErrBlocks},
		"no hex":              {text: head + "zz" + sum[2:] + sum + "\n", err: wire.ErrBlocks},
		"another path":        {text: strings.Replace(head, "a%20b", "c", 1) + sum + sum + "\n", err: wire.ErrBlocks},
		"other blocks":        {text: strings.Replace(head, " 65536 ", " 131072 ", 1) + sum + "\n", err: wire.ErrBlocks},
		"no size":             {text: strings.Replace(head, "65537", "-1", 1) + sum + "\n", err: wire.ErrBlocks},
		"a vast file":         {text: strings.Replace(head, "65537", "68719476737", 1) + sum, err: wire.ErrBlocks},
		"the vastest file":    {text: strings.Replace(head, "65537", "9223372036854775807", 1) + sum, err: wire.ErrBlocks},
		"a page":              {text: "<html>\n", err: wire.ErrBlocks},
		"a line without ends": {text: strings.Repeat("x", 1<<20), err: wire.ErrBlocks},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := wire.ReadBlocks(iotest.OneByteReader(strings.NewReader(c.text)), of)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Len(t, b.Sums, c.sums)
			require.Equal(t, c.changed, b.Changed)
		})
	}
	broken := errors.New("the connection broke")
	_, err := wire.ReadBlocks(iotest.ErrReader(broken), of)
	require.ErrorIs(t, err, broken)
}

func TestBlockSizes(t *testing.T) {
	for size, is := range map[int64]bool{0: false, 1: false, -65536: false, 65535: false, 32768: false, 65536: true, 65537: false, 98304: false, 1 << 20: true, 4 << 20: true, 8 << 20: false} {
		require.Equal(t, is, wire.IsBlock(size), size)
	}
	for size, count := range map[int64]int64{0: 0, 1: 1, 65536: 1, 65537: 2, 1<<63 - 1: 1 << 47} {
		require.Equal(t, count, wire.CountBlocks(size, 65536))
	}
}

// An answer to ?blocks: what is read is written, and what was written reads the same.
func FuzzBlocks(f *testing.F) {
	f.Add("1795845050.678944529 65537 1795845050.678944530 65536 a\n"+aSum+"\n"+aSum+"\n\n", "a")
	f.Add("-1.000000000 70000 2.000000000 65536 a%20b\n"+aSum+"\nchanged\n", "a b")
	f.Add("1.5 0 1.5 65536 a\n\n", "a")
	f.Fuzz(func(t *testing.T, text, path string) {
		of := wire.BlocksOf{Path: path, Block: wire.LeastBlock}
		b, err := wire.ReadBlocks(strings.NewReader(text), of)
		require.LessOrEqual(t, len(b.Sums), len(text)/64)
		if err != nil {
			return
		}
		if !b.Changed {
			require.Equal(t, wire.CountBlocks(b.Tag.Size, of.Block), int64(len(b.Sums)))
		}
		again := wire.AppendBlocksHead(nil, of, b.Tag)
		for _, sum := range b.Sums {
			again = wire.AppendBlockSum(again, sum)
		}
		again = wire.AppendBlocksEnd(again, b.Changed)
		got, err := wire.ReadBlocks(bytes.NewReader(again), of)
		require.NoError(t, err)
		require.Equal(t, b, got)
	})
}

// The body of POST ?blocks.
func FuzzBlocksOf(f *testing.F) {
	f.Add("a%20b\t65536\nc\t4194304\n")
	f.Add("a\n\t65536\n..\t65536\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := wire.ReadBlocksOf(strings.NewReader(text), func(string) error { return nil })
		if err != nil {
			require.Nil(t, all)
			if err != wire.ErrTooManyPaths {
				require.ErrorIs(t, err, mtree.ErrName)
			}
			return
		}
		var body []byte
		for _, of := range all {
			require.True(t, wire.IsBlock(of.Block))
			require.NoError(t, mtree.CheckPath(of.Path))
			body = of.AppendLine(body)
		}
		again, err := wire.ReadBlocksOf(bytes.NewReader(body), func(string) error { return nil })
		require.NoError(t, err)
		require.Equal(t, all, again)
	})
}
