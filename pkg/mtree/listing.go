package mtree

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unsafe"
)

// ListingType is the media type of a text listing.
const ListingType = "text/plain; charset=utf-8"

// MaxEntries is how many entries a Decoder accepts in one listing unless told
// otherwise: four times the largest directory we test, about 600 MB as Entry
// values. More is an error, never a truncation.
const MaxEntries = 4 << 20

// maxLine bounds one line of a listing, in bytes: a name of MaxName and a link
// target of 4095 bytes (PATH_MAX), all escaped threefold, and 3 KiB for
// attributes of versions to come.
const maxLine = 16 << 10

// shortLine bounds how many entries room is made for before they are read, in
// bytes of text for each: two stamps alone are longer.
const shortLine = 32

// Errors of reading a listing. ErrTruncated is an ErrListing.
var (
	ErrListing   = errors.New("not a listing")
	ErrTruncated = fmt.Errorf("%w: it ends before its #end line", ErrListing)
)

// FormatListing returns the text form of l, described in the package
// documentation. ParseListing is its inverse. The entries must be in order.
func FormatListing(l Listing) []byte { return AppendListing(nil, l) }

// AppendListing appends the text form of l to dst.
func AppendListing(dst []byte, l Listing) []byte {
	dst = AppendSelf(dst, l)
	for i := range l.Entries {
		dst = AppendEntry(dst, &l.Entries[i])
	}
	return AppendEnd(dst, len(l.Entries))
}

// AppendSelf appends the first line of a listing; l.Entries is not looked at.
// With AppendEntry and AppendEnd a writer can stream a listing of any length.
func AppendSelf(dst []byte, l Listing) []byte {
	dst = l.Stamp.Append(dst)
	dst = append(dst, " ./"...)
	if l.Path != "" {
		dst = AppendEscaped(dst, l.Path)
		dst = append(dst, '/')
	}
	dst = append(dst, "\t-"...)
	if l.ID != "" {
		dst = AppendEscaped(append(dst, "\tid="...), l.ID)
	}
	if l.HasNow {
		dst = l.Now.Append(append(dst, "\tnow="...))
	}
	if l.Hidden != 0 {
		dst = strconv.AppendInt(append(dst, "\thidden="...), l.Hidden, 10)
	}
	if l.Excluded != 0 {
		dst = strconv.AppendInt(append(dst, "\texcluded="...), l.Excluded, 10)
	}
	if l.Covered != 0 {
		dst = strconv.AppendInt(append(dst, "\tcovered="...), l.Covered, 10)
	}
	if l.Hot {
		dst = append(dst, "\thot=1"...)
	}
	return append(dst, '\n')
}

// AppendEntry appends the line of one entry.
func AppendEntry(dst []byte, e *Entry) []byte {
	dst = append(e.MTime.Append(dst), ' ')
	dst = AppendEscaped(dst, e.Name)
	switch e.Kind {
	case File:
		dst = strconv.AppendInt(append(dst, '\t'), e.Size, 10)
	case Dir:
		dst = append(dst, "/\t-"...)
	default:
		dst = append(dst, "\t-"...)
	}
	if e.Has&HasMode != 0 {
		dst = append(dst, "\tmode=0"...)
		dst = strconv.AppendUint(append(dst, zeros(e.Mode)...), uint64(e.Mode), 8)
	}
	if e.Has&HasCTime != 0 {
		dst = e.CTime.Append(append(dst, "\tctime="...))
	}
	if e.Kind == Symlink {
		dst = AppendEscaped(append(dst, "\tlink="...), e.Link)
	}
	if e.Has&HasOwner != 0 {
		dst = strconv.AppendUint(append(dst, "\towner="...), uint64(e.UID), 10)
		dst = strconv.AppendUint(append(dst, ':'), uint64(e.GID), 10)
	}
	if e.Hot {
		dst = append(dst, "\thot=1"...)
	}
	return append(dst, '\n')
}

// zeros pads an octal mode to three digits.
func zeros(mode uint32) string {
	switch {
	case mode > 0o77:
		return ""
	case mode > 0o7:
		return "0"
	}
	return "00"
}

// AppendEnd appends the end mark of a listing of n entries.
func AppendEnd(dst []byte, n int) []byte {
	dst = strconv.AppendInt(append(dst, "#end "...), int64(n), 10)
	return append(dst, '\n')
}

// ParseListing reads exactly one whole listing. Errors wrap ErrListing; a text
// cut short gives ErrTruncated.
//
// Cost: a copy of the text, which the names share, and room for the entries.
func ParseListing(text []byte) (Listing, error) {
	d := &Decoder{
		text:  string(text),
		guess: max(min(bytes.Count(text, []byte{'\n'})-2, len(text)/shortLine), 0),
	}
	l, err := d.Next()
	if err == io.EOF {
		return Listing{}, ErrTruncated
	}
	if err != nil {
		return Listing{}, err
	}
	if _, err := d.Next(); err != io.EOF {
		return Listing{}, fmt.Errorf("%w: text behind the #end line", ErrListing)
	}
	return l, nil
}

// Trailer is the line that ends an answer to "changes since".
type Trailer struct {
	Stamp Stamp  // everything up to here has been told
	More  bool   // the answer was cut: ask again with after=After
	After string // path of the last directory told
}

// Decoder reads listings one after another from a stream: a single one, or the
// blocks of an answer to "changes since". It holds one listing in memory. It
// is strict: names must pass CheckName and ascend, the count must agree.
type Decoder struct {
	// MaxEntries bounds the entries of one listing; 0 means MaxEntries.
	MaxEntries int

	// Room is asked before entries that take so many bytes of memory more are
	// kept, in steps of 64 KiB and more; its error ends the listing. nil: there is
	// room for all.
	Room func(bytes int) error

	in      *bufio.Reader // nil: text is all there is
	text    string        // not read yet
	guess   int           // how many entries the listing may have
	line    int           // number of the line read last, from 1
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
	line, err := d.content()
	if err != nil {
		return Listing{}, err
	}
	l, err := parseSelf(line)
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
	var pieces pieces
	for {
		line, err := d.readLine()
		if err == io.EOF {
			return Listing{}, ErrTruncated
		}
		if err != nil {
			return Listing{}, err
		}
		if line[0] == '#' {
			if count, ok := strings.CutPrefix(line, "#end "); ok {
				if n := pieces.count + len(l.Entries); count != strconv.Itoa(n) {
					return Listing{}, d.wrong(fmt.Errorf("the end mark counts %.20q, there were %d", count, n))
				}
				l.Entries = pieces.join(l.Entries)
				return l, nil
			}
			continue
		}
		if pieces.count+len(l.Entries) >= most {
			return Listing{}, d.wrong(fmt.Errorf("more than %d entries", most))
		}
		e, err := parseEntry(line)
		if err != nil {
			return Listing{}, d.wrong(err)
		}
		if d.in != nil {
			e.Name, e.Link = strings.Clone(e.Name), strings.Clone(e.Link) // not the whole line
		}
		if n := len(l.Entries); n > 0 && l.Entries[n-1].Name >= e.Name {
			return Listing{}, d.wrong(fmt.Errorf("%q is out of order or twice", e.Name))
		}
		if err := d.makeRoom(&e); err != nil {
			return Listing{}, err
		}
		if len(l.Entries) >= pieceSize && d.in != nil {
			l.Entries = pieces.keep(l.Entries)
		}
		l.Entries = append(l.Entries, e)
	}
}

// pieceSize is in pieces of how many entries a large listing is held until its end:
// one slice that grows is there twice again and again.
const pieceSize = 64 << 10

type pieces struct {
	kept  [][]Entry
	count int
}

// keep keeps a piece and returns the next one, which begins with the last entry of
// it: order is checked against that.
func (p *pieces) keep(piece []Entry) []Entry {
	last := len(piece) - 1
	p.kept, p.count = append(p.kept, piece[:last:last]), p.count+last
	return append(make([]Entry, 0, pieceSize), piece[last])
}

// join returns all pieces and the last one as one slice.
func (p *pieces) join(last []Entry) []Entry {
	if p.count == 0 {
		return last
	}
	all := make([]Entry, 0, p.count+len(last))
	for i, piece := range p.kept {
		all, p.kept[i] = append(all, piece...), nil
	}
	return append(all, last...)
}

// entrySize is what an entry takes in memory, its strings apart: itself and what
// allocating these costs.
const entrySize = int(unsafe.Sizeof(Entry{})) + 16

// roomStep is how many bytes are asked for at once.
const roomStep = 64 << 10

func (d *Decoder) makeRoom(e *Entry) error {
	if d.Room == nil {
		return nil
	}
	d.unasked += entrySize + len(e.Name) + len(e.Link)
	if d.unasked < roomStep {
		return nil
	}
	bytes := d.unasked
	d.unasked = 0
	return d.Room(bytes)
}

// Trailer returns the "#stamp" or "#more" line that stood behind the listings
// read so far, and whether there was one.
func (d *Decoder) Trailer() (Trailer, bool) {
	if d.trailer == nil {
		return Trailer{}, false
	}
	return *d.trailer, true
}

// content returns the next line that is no comment, noting a trailer.
func (d *Decoder) content() (string, error) {
	for {
		line, err := d.readLine()
		if err != nil {
			return "", err
		}
		if line[0] != '#' {
			if d.trailer != nil {
				return "", d.wrong(errors.New("text behind the trailer"))
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

func (d *Decoder) wrong(err error) error {
	return fmt.Errorf("%w: line %d: %w", ErrListing, d.line, err)
}

// cutColumns splits "STAMP NAME<TAB>SIZE[<TAB>ATTRS]".
func cutColumns(line string) (stamp Stamp, name, size, attrs string, err error) {
	first, rest, ok := strings.Cut(line, " ")
	if stamp, ok2 := parseStamp(first); ok && ok2 {
		name, rest, ok = strings.Cut(rest, "\t")
		if ok && len(name) > 0 {
			size, attrs, _ = strings.Cut(rest, "\t")
			return stamp, name, size, attrs, nil
		}
	}
	return Stamp{}, "", "", "", fmt.Errorf("want STAMP NAME<TAB>SIZE, got %.60q", line)
}

func parseSelf(line string) (Listing, error) {
	stamp, name, size, attrs, err := cutColumns(line)
	if err != nil {
		return Listing{}, err
	}
	escaped, ok := strings.CutPrefix(name, "./")
	if !ok || size != "-" {
		return Listing{}, fmt.Errorf(`want the directory itself, "STAMP ./<TAB>-", got %.60q`, line)
	}
	l := Listing{Stamp: stamp}
	if escaped != "" {
		if l.Path, err = parsePath(escaped); err != nil {
			return Listing{}, err
		}
	}
	return l, eachAttr(attrs, func(key, value string) (err error) {
		switch key {
		case "id":
			l.ID = strings.Clone(value) // kept longer than the rest
		case "now":
			l.Now, err = ParseStamp(value)
			l.HasNow = true
		case "hidden":
			l.Hidden, err = parseSize(value)
		case "excluded":
			l.Excluded, err = parseSize(value)
		case "covered":
			l.Covered, err = parseSize(value)
		case "hot":
			l.Hot = value == "1"
		default:
			if isCapital(key) {
				return fmt.Errorf("attribute %q of the directory is not understood: a newer tidemark is needed", key)
			}
		}
		return err
	})
}

// parsePath decodes "a/b/", component by component.
func parsePath(escaped string) (string, error) {
	trimmed, ok := strings.CutSuffix(escaped, "/")
	if !ok {
		return "", fmt.Errorf("%w: directory %.300q without a slash at its end", ErrName, escaped)
	}
	var path string
	for part := range strings.SplitSeq(trimmed, "/") {
		name, err := UnescapeName(part)
		if err != nil {
			return "", err
		}
		if err := CheckName(name); err != nil {
			return "", err
		}
		path = JoinPath(path, name)
	}
	return path, nil
}

func parseEntry(line string) (Entry, error) {
	stamp, name, size, attrs, err := cutColumns(line)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Kind: File, MTime: stamp}
	if name[len(name)-1] == '/' {
		e.Kind = Dir
		name = name[:len(name)-1]
	}
	if e.Name, err = UnescapeName(name); err != nil {
		return Entry{}, err
	}
	if err := CheckName(e.Name); err != nil {
		return Entry{}, err
	}
	linked := false
	err = eachAttr(attrs, func(key, value string) error {
		linked = linked || key == "link"
		return e.setAttr(key, value)
	})
	switch {
	case err != nil:
		return Entry{}, fmt.Errorf("%q: %w", e.Name, err)
	case e.Kind == Dir && size != "-":
		return Entry{}, fmt.Errorf("%q: a directory with a size", e.Name)
	case e.Kind == File && size == "-":
		e.Kind = Symlink
		if !linked && e.NotUnderstood == "" {
			return Entry{}, fmt.Errorf("%q: a symlink without a target", e.Name)
		}
	case e.Kind == File:
		if e.Size, err = parseSize(size); err != nil {
			return Entry{}, fmt.Errorf("%q: %w", e.Name, err)
		}
	}
	if e.Kind != Symlink {
		e.Link = ""
	}
	return e, nil
}

func (e *Entry) setAttr(key, value string) (err error) {
	switch key {
	case "mode":
		var mode uint64
		if mode, err = strconv.ParseUint(value, 8, 32); err != nil || mode > 0o7777 {
			return fmt.Errorf("mode %.20q is not octal", value)
		}
		e.Mode, e.Has = uint32(mode), e.Has|HasMode
	case "ctime":
		e.CTime, err = ParseStamp(value)
		e.Has |= HasCTime
	case "link":
		if value == "" || strings.IndexByte(value, 0) >= 0 {
			return errors.New("an impossible link target")
		}
		e.Link = value
	case "owner":
		e.UID, e.GID, err = parseOwner(value)
		e.Has |= HasOwner
	case "hot":
		e.Hot = value == "1"
	default:
		if isCapital(key) {
			e.NotUnderstood = key
		}
	}
	return err
}

func parseOwner(value string) (uid, gid uint32, err error) {
	left, right, _ := strings.Cut(value, ":")
	u, err1 := strconv.ParseUint(left, 10, 32)
	g, err2 := strconv.ParseUint(right, 10, 32)
	if err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("owner %.40q is not UID:GID", value)
	}
	return uint32(u), uint32(g), nil
}

// parseSize reads 1*DIGIT up to 2^63-1.
func parseSize(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || !isDigit(text[0]) {
		return 0, fmt.Errorf("size %.40q is not a number below 2^63", text)
	}
	return int64(n), nil
}

// eachAttr calls set for each key=value, values unescaped.
func eachAttr(attrs string, set func(key, value string) error) error {
	if len(attrs) == 0 {
		return nil
	}
	for field := range strings.SplitSeq(attrs, "\t") {
		key, escaped, ok := strings.Cut(field, "=")
		if !ok || !isKey(key) {
			return fmt.Errorf("attribute %.60q is not KEY=VALUE", field)
		}
		value, err := UnescapeName(escaped)
		if err != nil {
			return err
		}
		if err := set(key, value); err != nil {
			return err
		}
	}
	return nil
}

// isKey reports whether key is [A-Za-z][a-z0-9]*.
func isKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if !('a' <= c && c <= 'z' || i == 0 && isCapital(key) || i > 0 && isDigit(c)) {
			return false
		}
	}
	return key != ""
}

func isCapital(key string) bool { return 'A' <= key[0] && key[0] <= 'Z' }

// AppendTrailer appends the line that ends an answer to "changes since".
func AppendTrailer(dst []byte, t Trailer) []byte {
	if !t.More {
		return append(t.Stamp.Append(append(dst, "#stamp "...)), '\n')
	}
	dst = append(t.Stamp.Append(append(dst, "#more "...)), ' ')
	for i := 0; ; {
		part, rest, found := strings.Cut(t.After[i:], "&")
		dst = AppendEscaped(dst, part)
		if !found {
			return append(dst, '\n')
		}
		dst = append(dst, "%26"...) // the path is to be put into a query as it is
		i = len(t.After) - len(rest)
	}
}

func parseTrailer(line string) (t Trailer, is bool, err error) {
	if rest, ok := strings.CutPrefix(line, "#stamp "); ok {
		t.Stamp, err = ParseStamp(rest)
		return t, true, err
	}
	rest, ok := strings.CutPrefix(line, "#more ")
	if !ok {
		return Trailer{}, false, nil
	}
	stamp, path, ok := strings.Cut(rest, " ")
	if !ok {
		return Trailer{}, false, fmt.Errorf("want #more STAMP PATH, got %.60q", line)
	}
	t.More = true
	if t.Stamp, err = ParseStamp(stamp); err == nil {
		t.After, err = parsePath(path + "/")
	}
	return t, true, err
}
