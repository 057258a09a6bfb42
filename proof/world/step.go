package world

import (
	"fmt"
	"strconv"
	"strings"
)

// Step is one thing that happens: a change, a transition, a pause or a rest. It has all of
// its parameters, so that it means something whatever was left out before it.
type Step struct {
	Name   string
	Args   []string
	User   int  // who makes the change; 0: root
	Beside bool // it happens at once with the next one
}

// String is the step as a line: [&] [as=UID] NAME ARGS, each as it is or in Go's quotes.
func (s Step) String() string {
	var b strings.Builder
	if s.Beside {
		b.WriteString("& ")
	}
	if s.User != 0 {
		fmt.Fprintf(&b, "as=%d ", s.User)
	}
	b.WriteString(s.Name)
	for _, a := range s.Args {
		if quoted := strconv.Quote(a); a == "" || strings.ContainsAny(a, " #") || quoted != `"`+a+`"` {
			a = quoted
		}
		b.WriteString(" " + a)
	}
	return b.String()
}

// Parse reads a line as String writes it. A line that is empty or begins with # is no step.
func Parse(line string) (s Step, ok bool, err error) {
	rest := strings.TrimSpace(line)
	if rest == "" || rest[0] == '#' {
		return s, false, nil
	}
	var words []string
	for rest != "" {
		word, after, _ := strings.Cut(rest, " ")
		if rest[0] == '"' {
			var quoted string
			if quoted, err = strconv.QuotedPrefix(rest); err == nil {
				after = rest[len(quoted):]
				word, err = strconv.Unquote(quoted)
			}
			if err != nil {
				return s, false, fmt.Errorf("%q: %w", line, err)
			}
		}
		words, rest = append(words, word), strings.TrimLeft(after, " ")
	}
	if words[0] == "&" {
		s.Beside, words = true, words[1:]
	}
	if len(words) > 0 && strings.HasPrefix(words[0], "as=") {
		if s.User, err = strconv.Atoi(words[0][3:]); err != nil {
			return s, false, fmt.Errorf("%q: %w", line, err)
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return s, false, fmt.Errorf("%q: no step", line)
	}
	s.Name, s.Args = words[0], words[1:]
	return s, true, nil
}

// ParseAll reads the steps of a file.
func ParseAll(text string) (steps []Step, err error) {
	for line := range strings.SplitSeq(text, "\n") {
		s, ok, err := Parse(line)
		if err != nil {
			return nil, err
		}
		if ok {
			steps = append(steps, s)
		}
	}
	return steps, nil
}

// Format writes steps as ParseAll reads them.
func Format(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}
