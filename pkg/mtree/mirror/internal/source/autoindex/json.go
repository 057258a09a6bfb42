package autoindex

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"tidemark/pkg/mtree"
)

// jsonEntry is one element of a JSON listing: nginx has name, type, mtime
// (RFC 1123) and size; lighttpd the same with type "dir" and mtime as a number;
// Caddy name (directories end in a slash), is_dir, mod_time (RFC 3339) and size.
type jsonEntry struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	IsDir   bool            `json:"is_dir"`
	Size    *int64          `json:"size"`
	MTime   json.RawMessage `json:"mtime"`
	ModTime *time.Time      `json:"mod_time"`
}

func isJSON(contentType string) bool { return strings.HasPrefix(contentType, "application/json") }

// parseJSON reads a list of elements.
func parseJSON(text []byte) ([]mtree.Entry, map[string]Bounds, error) {
	var list []jsonEntry
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", mtree.ErrListing, err)
	}
	if bytes.Contains(text, []byte("\xef\xbf\xbd")) || !json.Valid(text) {
		return nil, nil, fmt.Errorf("%w: a name that JSON cannot carry", mtree.ErrListing)
	}
	entries, known := make([]mtree.Entry, 0, len(list)), make(map[string]Bounds, len(list))
	for i := range list {
		e, b, ok, err := list[i].entry()
		if err != nil {
			return nil, nil, err
		}
		if ok {
			entries = append(entries, e)
			known[e.Name] = b
		}
	}
	return entries, known, nil
}

// entry converts one element; ok is false if it is neither a file nor a directory.
func (f *jsonEntry) entry() (e mtree.Entry, b Bounds, ok bool, err error) {
	name, slash := strings.CutSuffix(f.Name, "/")
	if strings.ContainsRune(name, '\uFFFD') {
		return e, b, false, fmt.Errorf("%w: a name that JSON cannot carry", mtree.ErrListing)
	}
	if err := mtree.CheckName(name); err != nil {
		return e, b, false, fmt.Errorf("%w: %w", mtree.ErrListing, err)
	}
	e = mtree.Entry{Name: name, Kind: mtree.File}
	switch {
	case f.IsDir || slash || f.Type == "directory" || f.Type == "dir":
		e.Kind = mtree.Dir
	case f.Type != "" && f.Type != "file":
		return e, b, false, nil
	}
	b = Bounds{High: -1}
	if f.Size != nil && e.Kind == mtree.File {
		if *f.Size < 0 {
			return e, b, false, fmt.Errorf("%w: %q has the size %d", mtree.ErrListing, name, *f.Size)
		}
		e.Size, b.Low, b.High = *f.Size, *f.Size, *f.Size
	}
	if e.MTime, b.Step, err = f.time(); err != nil {
		return e, b, false, fmt.Errorf("%w: %q: %w", mtree.ErrListing, name, err)
	}
	return e, b, true, nil
}

// time returns the time of an element, and its step; a step of 0 says that there is none.
func (f *jsonEntry) time() (mtree.Stamp, time.Duration, error) {
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
	var t time.Time
	var err error
	for _, layout := range textTimes {
		if t, err = time.Parse(layout, text); err == nil {
			break
		}
	}
	return mtree.FromTime(t), time.Second, err
}

// textTimes is how servers write times as text: those of HTTP (RFC 9110, 5.6.7) first.
var textTimes = []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC, time.RFC3339Nano}
