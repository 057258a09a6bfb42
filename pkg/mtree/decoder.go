package mtree

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MaxEntries is how many entries a Decoder accepts in one listing unless it has
// another bound: four times the largest directory we test, about 600 MB as Entry
// values. More is an error, never a truncation.
const MaxEntries = 4 << 20

// maxComments bounds the comment lines of a listing. No version writes more than one;
// without a bound a compressed answer of half a megabyte takes a minute to read.
const maxComments = 100_000

// Decoder reads listings one after another from a stream: a single one, or the
// blocks of an answer to "changes since". It holds one listing in memory. It
// is strict: names must pass CheckName and ascend, the count must agree.
type Decoder struct {
	// MaxEntries bounds the entries of one listing; 0 means MaxEntries.
	MaxEntries int

	// Parts is whether parts are understood. Else a part is an error, because its reader
	// would take it for a whole listing.
	Parts bool

	// Room is called before entries are kept that need so much more memory, in
	// bytes, in steps of 64 KiB or more. Its error ends the listing. nil: there is
	// room for all.
	Room func(bytes int) error

	in      *bufio.Reader // nil: text is all there is
	text    string        // not read yet
	guess   int           // how many entries the listing may have
	line    int           // number of the last line, from 1
	remarks int           // comment lines since the last listing
	unasked int           // bytes that Room was not asked for yet
	trailer *Trailer
}

// NewDecoder returns a Decoder that reads from r.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{in: bufio.NewReaderSize(r, maxLine)}
}

// Next returns the next listing. At the end of the stream it returns io.EOF; a
// stream that ends inside a listing gives ErrTruncated; anything else that is
// wrong wraps ErrListing, and errors of the reader are passed on. After an
// error the Decoder is of no further use.
func (d *Decoder) Next() (Listing, error) {
	d.remarks = 0
	line, err := d.content()
	if err != nil {
		return Listing{}, err
	}
	l, err := parseSelf(line, d.Parts)
	if err != nil {
		return Listing{}, d.wrong(err)
	}
	most := d.MaxEntries
	if most == 0 {
		most = MaxEntries
	}
	if d.guess > 0 {
		l.Entries = make([]Entry, 0, min(d.guess, most))
	}
	if err := d.body(&l, most); err != nil {
		return Listing{}, err
	}
	return l, nil
}

// body reads the lines of l after the first, through its end mark: at most most of them.
func (d *Decoder) body(l *Listing, most int) error {
	var pieces pieces
	last, count := "", 0
	for {
		line, err := d.readLine()
		if err == io.EOF {
			return ErrTruncated
		}
		if err != nil {
			return err
		}
		e, is, end, err := d.parseLine(line, l.IsPart())
		switch {
		case err != nil:
			return d.wrong(err)
		case end != "":
			if end != strconv.Itoa(count) {
				return d.wrong(fmt.Errorf("the end mark counts %.20q, there were %d", end, count))
			}
			l.Entries = pieces.join(l.Entries)
			return nil
		case !is:
			continue
		case count >= most:
			return d.wrong(fmt.Errorf("more than %d entries", most))
		case last >= e.Name:
			return d.wrong(fmt.Errorf("%q is out of order or twice", e.Name))
		}
		last = e.Name
		count++
		if err := d.makeRoom(&e); err != nil {
			return err
		}
		if e.Kind == Other {
			l.Gone = append(l.Gone, e.Name)
			continue
		}
		if len(l.Entries) >= pieceSize && d.in != nil {
			l.Entries = pieces.keep(l.Entries)
		}
		l.Entries = append(l.Entries, e)
	}
}

// parseLine reads a line of a body: an entry (is), a name that is gone (is, of kind Other),
// the count of the end mark, which is never empty, or a comment.
func (d *Decoder) parseLine(line string, part bool) (e Entry, is bool, end string, err error) {
	if line[0] != '#' {
		e, err = parseEntry(line)
		if d.in != nil {
			e.Name, e.Link = strings.Clone(e.Name), strings.Clone(e.Link) // not the whole line
		}
		return e, true, "", err
	}
	if count, ok := strings.CutPrefix(line, "#end "); ok {
		if count == "" {
			err = errors.New("an end mark without a count")
		}
		return Entry{}, false, count, err
	}
	if name, ok := strings.CutPrefix(line, gonePrefix); ok && part {
		e.Name, err = parseGone(name)
		return e, true, "", err
	}
	return Entry{}, false, "", nil
}

// Trailer returns the "#stamp" or "#more" line that came after the listings read so
// far, and whether there was one.
func (d *Decoder) Trailer() (Trailer, bool) {
	if d.trailer == nil {
		return Trailer{}, false
	}
	return *d.trailer, true
}

// content returns the next line that is not a comment, and notes a trailer.
func (d *Decoder) content() (string, error) {
	for {
		line, err := d.readLine()
		if err != nil {
			return "", err
		}
		if line[0] != '#' {
			if d.trailer != nil {
				return "", d.wrong(errors.New("text after the trailer"))
			}
			return line, nil
		}
		t, is, err := parseTrailer(line)
		if err != nil {
			return "", d.wrong(err)
		}
		if is {
			d.trailer = &t
		}
	}
}

// readLine returns a non-empty line without its LF. A last line without LF is a
// truncation.
func (d *Decoder) readLine() (string, error) {
	line, err := d.lineEnd()
	d.line++
	switch {
	case err == bufio.ErrBufferFull:
		return "", d.wrong(fmt.Errorf("longer than %d bytes", maxLine))
	case err == io.EOF && len(line) > 0:
		if d.line == 1 {
			return "", d.wrong(fmt.Errorf("no line end in %.60q", line))
		}
		return "", ErrTruncated
	case err != nil:
		return "", err
	case len(line) == 1:
		return "", d.wrong(errors.New("empty"))
	case line[0] == '#':
		if d.remarks++; d.remarks > maxComments {
			return "", d.wrong(fmt.Errorf("more than %d comments", maxComments))
		}
	}
	return line[:len(line)-1], nil
}

// lineEnd reads through the next LF, as bufio.Reader.ReadSlice does.
func (d *Decoder) lineEnd() (string, error) {
	if d.in != nil {
		line, err := d.in.ReadSlice('\n')
		return string(line), err
	}
	end := strings.IndexByte(d.text, '\n') + 1
	if end > maxLine || end == 0 && len(d.text) >= maxLine {
		return "", bufio.ErrBufferFull
	}
	if end == 0 {
		return d.text, io.EOF
	}
	line := d.text[:end]
	d.text = d.text[end:]
	return line, nil
}

// wrong makes err an ErrListing that names the line.
func (d *Decoder) wrong(err error) error {
	return fmt.Errorf("%w: line %d: %w", ErrListing, d.line, err)
}
