package state

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// fuzzed is a marker whose files the fuzzer writes.
func fuzzed(f *testing.F) *Marker {
	root, err := disk.OpenRoot(f.TempDir())
	require.NoError(f, err)
	m, err := CreateMarker(root, "")
	require.NoError(f, err)
	return m
}

func (m *Marker) put(t *testing.T, name string, text []byte) {
	require.NoError(t, os.WriteFile(m.dir.Path()+"/"+name, text, 0o644))
}

// A status of which a byte is another one, or a part is missing or of another status, is
// no status: it gives an error, never other values.
func FuzzStatus(f *testing.F) {
	f.Add(uint16(5), byte('x'), uint16(100), int64(1_700_000_000), "watched")
	f.Add(uint16(0), byte(' '), uint16(4096), int64(-1), "")
	f.Add(uint16(30), byte('1'), uint16(60), int64(17), `"quoted"`)
	m := fuzzed(f)
	f.Fuzz(func(t *testing.T, at uint16, with byte, length uint16, sec int64, text string) {
		if len(text) > 1000 || strings.ToValidUTF8(text, "") != text {
			return
		}
		stamp := mtree.Unix(sec%(1<<40), 5)
		was := Status{State: wire.State(text), Checkpoint: &stamp, Boot: "b", Clean: sec%2 == 0, Counters: map[string]int64{"a": sec}}
		page, err := statusText(was)
		require.NoError(t, err)
		m.put(t, statusName, append(bytes.Clone(page), bytes.Repeat([]byte(" "), 100)...))
		got, err := m.readStatus()
		require.NoError(t, err)
		require.Equal(t, was, got)
		damaged := bytes.Clone(page)
		damaged[int(at)%len(page)] = with
		damaged = damaged[:min(len(damaged), int(length))]
		m.put(t, statusName, damaged)
		if got, err = m.readStatus(); err == nil {
			require.Equal(t, was, got, "%q\n%q", page, damaged)
		}
	})
}

// Each byte of a status replaced, and the status cut at each length: an error, or the same.
func TestStatusDamagedAnywhere(t *testing.T) {
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	m, err := CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	at := mtree.Unix(1_707_019_506, 123_456_789)
	was := Status{State: wire.Watched, Checkpoint: &at, Floor: &at, Boot: "boot", Clean: true, PID: 17}
	page, err := statusText(was)
	require.NoError(t, err)
	same := func(damaged []byte) {
		m.put(t, statusName, damaged)
		if got, err := m.readStatus(); err == nil {
			require.Equal(t, was, got, "%q\n%q", page, damaged)
		}
	}
	for i := range page {
		same(page[:i])
		same(append(bytes.Clone(page[:i]), make([]byte, len(page)-i)...))
		for _, with := range []byte("09\"") {
			damaged := bytes.Clone(page)
			damaged[i] = with
			same(damaged)
		}
	}
}

// What is read as a tree file is one tree, and written it reads the same.
func FuzzTree(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"0123456789abcdef0123456789abcdef","epoch":7,"role":"source","inode":5,"born":"1.5","runs":[{"run":"0123456789abcdef","floor":"2.0"}]}`))
	f.Add([]byte(`{"format":2,"id":"0123456789abcdef0123456789abcdef"}`))
	f.Add([]byte(`{"id":"x","epoch":-1}`))
	m := fuzzed(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxSmall {
			return
		}
		m.put(t, treeName, text)
		tree, err := m.ReadTree()
		if err != nil {
			return
		}
		require.True(t, validTreeID(tree.ID))
		require.NoError(t, m.WriteTree(tree))
		again, err := m.ReadTree()
		require.NoError(t, err)
		require.True(t, tree.Same(again), "%+v\n%+v", tree, again)
		noted, _, _ := Noted(m.root)
		require.Equal(t, tree.ID, noted.ID, "the note on the root says the same")
	})
}

// A file of exceptions is read whole or not at all, and what is read is written the same.
func FuzzExceptions(f *testing.F) {
	f.Add("tidemark stamps 5\n1.000000000\t7\ta/b\n#end 1\n", "a b\n", uint64(9))
	f.Add("tidemark unread 1\n-\t7\ta%2fb\n+\t8\tc\n#end 2\n", "x", uint64(0))
	f.Add("tidemark stamps 0\n#end 0\n", "é", uint64(1<<63))
	f.Fuzz(func(t *testing.T, text, path string, inode uint64) {
		for _, name := range []string{stampsName, unreadName} {
			lines, err := parseExceptions(name, text)
			if err != nil {
				require.ErrorIs(t, err, errExceptions)
				continue
			}
			head, _, _ := strings.Cut(text, "\n")
			out := []byte(head + "\n")
			for _, line := range lines {
				require.NoError(t, mtree.CheckPath(line.path))
				out = appendException(out, line.first, line.inode, line.path)
			}
			again, err := parseExceptions(name, string(exceptionsEnd(out, len(lines))))
			require.NoError(t, err)
			require.Equal(t, lines, again)
			for cut := range text {
				_, err := parseExceptions(name, text[:cut])
				require.Error(t, err, "cut after %d bytes: %q", cut, text)
			}
		}
		if mtree.CheckPath(path) != nil {
			return
		}
		out := exceptionsEnd(appendException(exceptionsHead(stampsName, 3), "5.000000000", inode, path), 1)
		lines, err := parseExceptions(stampsName, string(out))
		require.NoError(t, err)
		require.Equal(t, []exceptionLine{{"5.000000000", inode, path}}, lines)
	})
}

// Own writes are read as they were written, as far as a cut file goes.
func FuzzOwnWrites(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1, 2, 3, 0}, 17))
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, text []byte) {
		all := parseOwnWrites(nil, text)
		require.Len(t, all, len(text)/ownWriteSize)
		for i, w := range all {
			raw := text[i*ownWriteSize:]
			require.Equal(t, binary.LittleEndian.Uint64(raw), w.Inode)
			sec, nsec := w.MTime.Unix()
			require.True(t, nsec >= 0 && nsec < 1_000_000_000, "%d.%d", sec, nsec)
		}
	})
}

// SOURCE has one form, which has no credentials.
func FuzzSourceName(f *testing.F) {
	f.Add("http://u:p@Host:80/a//")
	f.Add("/srv/tree/")
	f.Add("//")
	f.Add("//Srv/a")
	f.Add("A://0#/") // named a://0# once, and a://0 when that was read again
	f.Fuzz(func(t *testing.T, text string) {
		name := SourceName(text)
		if strings.HasPrefix(text, "/") {
			require.Equal(t, strings.TrimRight(text, "/"), strings.TrimRight(name, "/"), "a path stays as it is")
		}
		require.Equal(t, name, SourceName(name), "%q", text)
		if text != "" && !strings.ContainsAny(text, "?#") {
			require.Equal(t, name, SourceName(text+"/"), "%q", text)
		}
	})
}
