package state

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"tidemark/pkg/mtree"
)

// JSON has no texts that are not UTF-8, but paths may be any bytes. Such a text is written
// as NUL, which no path has, and then escaped as in listings. So is one with U+FFFD: earlier
// versions wrote that for each byte that is not UTF-8.

func toText(text string) string {
	if !strings.ContainsRune(text, utf8.RuneError) { // which stands for both
		return text
	}
	return "\x00" + mtree.EscapeName(text)
}

func fromText(text string) (string, error) {
	escaped, ok := strings.CutPrefix(text, "\x00")
	if !ok {
		return text, nil
	}
	return mtree.UnescapeName(escaped)
}

// texts are the fields that may be any bytes.
func (t *Tree) texts() []*string {
	all := []*string{&t.Options, &t.Upstream, &t.Place, &t.Path, &t.Adopted}
	t.Filters = slices.Clone(t.Filters)
	for i := range t.Filters {
		all = append(all, &t.Filters[i])
	}
	t.Sources = slices.Clone(t.Sources)
	for i := range t.Sources {
		all = append(all, &t.Sources[i])
	}
	return all
}

// treeText is a Tree as JSON has it.
type treeText Tree

// MarshalJSON writes the tree file.
func (t Tree) MarshalJSON() ([]byte, error) {
	for _, text := range t.texts() {
		*text = toText(*text)
	}
	return json.Marshal(treeText(t))
}

// UnmarshalJSON reads the tree file.
func (t *Tree) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*treeText)(t)); err != nil {
		return err
	}
	if !strings.HasPrefix(t.Path, "\x00") && strings.ContainsRune(t.Path, utf8.RuneError) {
		t.Path = "" // by an earlier version, and perhaps of a path that was not UTF-8: not known
	}
	for _, text := range t.texts() {
		var err error
		if *text, err = fromText(*text); err != nil {
			return err
		}
	}
	return nil
}
