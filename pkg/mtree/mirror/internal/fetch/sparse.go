package fetch

import (
	"bytes"

	"tidemark/pkg/mtree/internal/disk"
)

// sparseFile writes to a file and leaves a hole in the place of each run of leastHole zeros and more.
// Cost: each block is compared with zeros up to its first byte that is none, and two system calls a
// hole.
type sparseFile struct {
	f      *disk.TempFile
	zeros  int64 // bytes that came last and are not in the file yet
	inHole bool  // the file ends in a hole
}

const (
	leastHole = 64 << 10 // bytes
	holeBlock = 4 << 10  // bytes that are compared at once
	mostZeros = 4 << 20  // bytes that are not in the file yet: a kill loses no more of what came
)

var zeroBytes [leastHole]byte

// Write implements io.Writer.
func (s *sparseFile) Write(p []byte) (written int, err error) {
	for {
		run := zeroRun(p[written:])
		s.zeros += int64(run)
		if written += run; written == len(p) {
			break
		}
		if err := s.end(); err != nil {
			return written, err
		}
		n, err := s.f.Write(p[written : written+dataBefore(p[written:])])
		if written, s.inHole = written+n, false; err != nil {
			return written, err
		}
	}
	if s.zeros >= mostZeros {
		err = s.end()
	}
	return written, err
}

// end brings the zeros that came last into the file.
func (s *sparseFile) end() error {
	n := s.zeros
	s.zeros = 0
	if s.inHole = n > 0 && (s.inHole || n >= leastHole); s.inHole {
		return s.f.AddHole(n)
	}
	_, err := s.f.Write(zeroBytes[:n])
	return err
}

// dataBefore returns how many bytes of p, which begins with another than zero, come before a run of
// zeros that is a hole, or with which p ends.
func dataBefore(p []byte) int {
	for at := 0; at < len(p); {
		run := zeroRun(p[at:])
		if start := len(bytes.TrimRight(p[:at], "\x00")); at+run-start >= leastHole {
			return start
		}
		at += max(run, holeBlock)
	}
	return len(bytes.TrimRight(p, "\x00"))
}

// zeroRun returns with how many zeros p begins.
func zeroRun(p []byte) (n int) {
	for n+holeBlock <= len(p) && bytes.Equal(p[n:n+holeBlock], zeroBytes[:holeBlock]) {
		n += holeBlock
	}
	for n < len(p) && p[n] == 0 {
		n++
	}
	return n
}
