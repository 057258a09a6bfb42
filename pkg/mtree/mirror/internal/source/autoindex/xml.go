package autoindex

import (
	"encoding/xml"
	"fmt"
	"time"

	"tidemark/pkg/mtree"
)

// xmlListing is what nginx writes with autoindex_format xml. Elements named other are
// neither directories nor files, and are left out.
type xmlListing struct {
	XMLName     xml.Name   `xml:"list"`
	Directories []xmlEntry `xml:"directory"`
	Files       []xmlEntry `xml:"file"`
}

type xmlEntry struct {
	Name  string     `xml:",chardata"`
	MTime *time.Time `xml:"mtime,attr"` // RFC 3339, whole seconds
	Size  *int64     `xml:"size,attr"`  // exact
}

// parseXML reads such a listing.
func parseXML(text []byte) ([]mtree.Entry, map[string]Bounds, error) {
	var l xmlListing
	if err := xml.Unmarshal(text, &l); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", mtree.ErrListing, err)
	}
	entries, known := make([]mtree.Entry, 0, len(l.Directories)+len(l.Files)), map[string]Bounds{}
	for i := range l.Directories {
		l.Directories[i].Size = nil
	}
	for i, x := range append(l.Directories, l.Files...) {
		if err := mtree.CheckName(x.Name); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", mtree.ErrListing, err)
		}
		e, b := mtree.Entry{Name: x.Name, Kind: mtree.File}, Bounds{High: -1}
		if i < len(l.Directories) {
			e.Kind = mtree.Dir
		}
		if x.MTime != nil {
			e.MTime, b.Step = mtree.FromTime(*x.MTime), time.Second
		}
		if x.Size != nil {
			if *x.Size < 0 {
				return nil, nil, fmt.Errorf("%w: %q has the size %d", mtree.ErrListing, x.Name, *x.Size)
			}
			e.Size, b.Low, b.High = *x.Size, *x.Size, *x.Size
		}
		entries = append(entries, e)
		known[e.Name] = b
	}
	return entries, known, nil
}
