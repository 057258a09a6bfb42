package hostile

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"tidemark/pkg/mtree/wire"
)

// The file of these attacks: 5 MiB of lines, of which the copy has a version in which the first
// line is another, and the last 1,000 bytes are missing.
var (
	logNow = strings.Repeat("0123456789abcde\n", 5<<16)
	logWas = "another line...\n" + logNow[16:len(logNow)-1000]
)

// logPath is its path.
const logPath = "a/log"

// blocksLie answers POST ?blocks with what lie makes of the honest head and sums. The file must come whole.
func blocksLie(name, says string, lie func(w io.Writer, head string, sums []string)) server {
	return server{name: name, codes: fine, says: says, deletes: true, before: func(b *box) {
		at := stampOf(first).Time()
		path := filepath.Join(b.copy, logPath)
		if err := os.WriteFile(path, []byte(logWas), 0o644); err != nil {
			b.t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			b.t.Fatal(err)
		}
	}, play: play{
		tree: func(t tree) { t.file(logPath, logNow, stampOf(second)) },
		answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.RawQuery, wire.BlocksQuery) {
				return false
			}
			asked, err := wire.ReadBlocksOf(r.Body, func(string) error { return nil })
			if err != nil || len(asked) != 1 {
				http.Error(w, "bad list", http.StatusBadRequest)
				return true
			}
			head, sums := honestBlocks(asked[0])
			lie(w, head, sums)
			return true
		},
	}, check: func(b *box, _ *peer, _ result) []string {
		got, err := os.ReadFile(filepath.Join(b.copy, logPath))
		if err != nil || string(got) != logNow {
			return []string{fmt.Sprintf("%s has other bytes than the source: %v", logPath, err)}
		}
		return nil
	}}
}

// honestBlocks is what serve would answer.
func honestBlocks(of wire.BlocksOf) (head string, sums []string) {
	at := stampOf(second)
	head = string(wire.AppendBlocksHead(nil, of, wire.FileTag{MTime: at, Size: int64(len(logNow)), CTime: at}))
	for text := []byte(logNow); len(text) > 0; {
		n := min(int(of.Block), len(text))
		sums = append(sums, string(wire.AppendBlockSum(nil, sha256.Sum256(text[:n]))))
		text = text[n:]
	}
	return head, sums
}

// write writes the parts of an answer.
func write(w io.Writer, parts ...string) { _, _ = io.WriteString(w, strings.Join(parts, "")) }

const falseSum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"

// blockAnswers are answers to POST ?blocks.
var blockAnswers = []server{
	blocksLie("blocks-too-few", "fetched whole.*sums of", func(w io.Writer, head string, sums []string) { write(w, head, strings.Join(sums[1:], ""), "\n") }),
	blocksLie("blocks-too-many", "fetched whole.*more sums", func(w io.Writer, head string, sums []string) {
		write(w, head, strings.Join(sums, ""), falseSum, "\n")
	}),
	blocksLie("blocks-without-end", "fetched whole|", func(w io.Writer, head string, sums []string) { write(w, head, strings.Join(sums, "")) }),
	blocksLie("blocks-and-a-second-file", "fetched whole.*more than the file", func(w io.Writer, head string, sums []string) {
		write(w, head, strings.Join(sums, ""), "\n", head, strings.Join(sums, ""), "\n")
	}),
	blocksLie("blocks-of-another-path", "fetched whole.*were asked for", func(w io.Writer, head string, sums []string) {
		write(w, strings.Replace(head, logPath, "../outside", 1), strings.Join(sums, ""), "\n")
	}),
	blocksLie("blocks-of-another-size", "fetched whole.*were asked for", func(w io.Writer, head string, sums []string) {
		write(w, strings.Replace(head, " 65536 ", " 1 ", 1), strings.Join(sums, ""), "\n")
	}),
	blocksLie("blocks-of-a-vast-file", "fetched whole.*more blocks than", func(w io.Writer, head string, sums []string) {
		write(w, strings.Replace(head, " 5242880 ", " 9223372036854775807 ", 1))
		writeOn(w, falseSum)
	}),
	blocksLie("blocks-of-a-smaller-file", "", func(w io.Writer, head string, sums []string) {
		write(w, strings.Replace(head, " 5242880 ", " 65536 ", 1), sums[0], "\n")
	}),
	blocksLie("blocks-endless", "fetched whole.*more sums", func(w io.Writer, head string, sums []string) {
		write(w, head)
		writeOn(w, falseSum)
	}),
	blocksLie("blocks-in-an-endless-line", "fetched whole.*longer than any", func(w io.Writer, head string, sums []string) { writeOn(w, "0") }),
	blocksLie("blocks-that-are-no-sums", "fetched whole.*no SHA-256", func(w io.Writer, head string, sums []string) {
		write(w, head, strings.Repeat(strings.Repeat("\x00", 64)+"\n", len(sums)), "\n")
	}),
	blocksLie("blocks-with-false-sums", "fetched whole", func(w io.Writer, head string, sums []string) {
		write(w, head, strings.Repeat(falseSum, len(sums)), "\n")
	}),
	blocksLie("blocks-always-changed", "", func(w io.Writer, head string, sums []string) { write(w, head, "changed\n") }),
	blocksLie("blocks-a-page", "fetched whole.*not an answer", func(w io.Writer, head string, sums []string) { write(w, "<html><body>", poison, "</body></html>\n") }),
	blocksLie("blocks-nothing", "", func(w io.Writer, head string, sums []string) {}),
}

// writeOn writes a text until nobody reads it.
func writeOn(w io.Writer, text string) {
	piece := bytes.Repeat([]byte(text), 1+(64<<10)/len(text))
	for {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}
