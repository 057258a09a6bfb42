package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tidemark/pkg/mtree"
)

// foreignEntry is one element of a JSON listing: nginx has name, type, mtime
// (RFC 1123) and size; lighttpd the same with type "dir" and mtime as a number;
// Caddy name (directories end in a slash), is_dir, mod_time (RFC 3339) and size.
type foreignEntry struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	IsDir   bool            `json:"is_dir"`
	Size    *int64          `json:"size"`
	MTime   json.RawMessage `json:"mtime"`
	ModTime *time.Time      `json:"mod_time"`
}

// caddyMost is how many entries Caddy lists by default; it drops the rest
// without a word.
const caddyMost = 10_000

func parseForeignJSON(text []byte) ([]mtree.Entry, map[string]vague, error) {
	var list []foreignEntry
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", mtree.ErrListing, err)
	}
	if bytes.Contains(text, []byte("\xef\xbf\xbd")) || !json.Valid(text) {
		return nil, nil, fmt.Errorf("%w: a name that JSON cannot carry", mtree.ErrListing)
	}
	if len(list) == caddyMost && list[0].ModTime != nil {
		return nil, nil, fmt.Errorf("%w: exactly %d entries: the rest was dropped, raise file_limit", mtree.ErrListing, caddyMost)
	}
	entries, known := make([]mtree.Entry, 0, len(list)), make(map[string]vague, len(list))
	for i := range list {
		e, g, ok, err := list[i].entry()
		if err != nil {
			return nil, nil, err
		}
		if ok {
			entries = append(entries, e)
			known[e.Name] = g
		}
	}
	return entries, known, nil
}

// entry converts one element; ok is false for what is no file or directory.
func (f *foreignEntry) entry() (e mtree.Entry, g vague, ok bool, err error) {
	name, slash := strings.CutSuffix(f.Name, "/")
	if strings.ContainsRune(name, '\uFFFD') {
		return e, g, false, fmt.Errorf("%w: a name that JSON cannot carry", mtree.ErrListing)
	}
	if err := mtree.CheckName(name); err != nil {
		return e, g, false, fmt.Errorf("%w: %w", mtree.ErrListing, err)
	}
	e = mtree.Entry{Name: name, Kind: mtree.File}
	switch {
	case f.IsDir || slash || f.Type == "directory" || f.Type == "dir":
		e.Kind = mtree.Dir
	case f.Type != "" && f.Type != "file":
		return e, g, false, nil
	}
	g = vague{high: -1}
	if f.Size != nil && e.Kind == mtree.File {
		if *f.Size < 0 {
			return e, g, false, fmt.Errorf("%w: %q has the size %d", mtree.ErrListing, name, *f.Size)
		}
		e.Size, g.low, g.high = *f.Size, *f.Size, *f.Size
	}
	if e.MTime, g.step, err = f.time(); err != nil {
		return e, g, false, fmt.Errorf("%w: %q: %w", mtree.ErrListing, name, err)
	}
	return e, g, true, nil
}

func (f *foreignEntry) time() (mtree.Stamp, time.Duration, error) {
	switch {
	case f.ModTime != nil:
		return mtree.FromTime(*f.ModTime), time.Nanosecond, nil
	case len(f.MTime) == 0:
		return mtree.Stamp{}, 0, nil
	case f.MTime[0] != '"':
		var seconds int64
		err := json.Unmarshal(f.MTime, &seconds)
		return mtree.Unix(seconds, 0), time.Second, err
	}
	var text string
	if err := json.Unmarshal(f.MTime, &text); err != nil {
		return mtree.Stamp{}, 0, err
	}
	if t, err := http.ParseTime(text); err == nil {
		return mtree.FromTime(t), time.Second, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return mtree.FromTime(t), time.Second, err
}
