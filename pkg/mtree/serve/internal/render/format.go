package render

import "tidemark/pkg/mtree"

// Format is one of the forms a listing comes in; its value stands in ETags.
type Format string

const (
	Text Format = "txt"
	JSON Format = "json"
	HTML Format = "html"

	// Preview is HTML with the pictures themselves beside their names.
	Preview Format = "preview"
)

// IsPage reports whether the format is one for people.
func (f Format) IsPage() bool { return f == HTML || f == Preview }

// HTMLType is the media type of pages.
const HTMLType = "text/html; charset=utf-8"

// ContentType returns the media type of the format.
func (f Format) ContentType() string {
	switch f {
	case JSON:
		return "application/json"
	case HTML, Preview:
		return HTMLType
	}
	return mtree.ListingType
}

// Options say how a listing is rendered.
type Options struct {
	Path string // of the directory, below the root
	Tag  string // HTML: the listing's ETag without coding and quotes, by which the page asks for news; "": it does not ask

	// Search: the entries were found below the directory, and are named by their paths. There
	// is no line for the directory itself, and the page does not refresh itself.
	Search bool
	Find   string // what was looked for; "": the newest files were
	More   bool   // of a search: there is more than was found

	// What the page offers besides.
	Tar    bool   // the subtree as a tar stream
	Token  bool   // commands that send a token: without one they are refused
	Newest bool   // the newest changes
	Readme string // name of a file whose text the page shows; "": none
	Text   string // the text

	// Follow returns what stands for a symlink in the formats that follow them: the file or
	// directory it leads to, under the symlink's name and of kind Other if nothing
	// published is there; and the href by which to ask for it, nil in that case. If Follow
	// is nil, no symlink leads anywhere.
	Follow func(link mtree.Entry) (shown mtree.Entry, href []byte)
}
