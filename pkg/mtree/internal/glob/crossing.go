package glob

// withinComponent reports whether other characters stand beside a "**" in its component,
// in one of the alternatives that are possible there.
func withinComponent(pattern string) bool {
	signs := signsOf(pattern)
	for at := 0; at < len(signs); at++ {
		end := at
		for end < len(signs) && signs[end] == '*' {
			end++
		}
		if n := end - at; n > 2 || n == 2 && !(begins(signs, at) && ends(signs, end)) {
			return true
		}
		at = max(at, end-1)
	}
	return false
}

// signsOf returns the pattern with 0 for every character without a meaning of its own:
// ordinary ones, those that are escaped or within brackets, and commas outside of braces.
func signsOf(pattern string) []byte {
	signs := make([]byte, len(pattern))
	depth, class := 0, false
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '{':
			depth++
			signs[i] = c
		case c == '}' && depth > 0:
			depth--
			signs[i] = c
		case c == '*', c == '/', c == ',' && depth > 0:
			signs[i] = c
		}
	}
	return signs
}

// begins reports whether a component begins at i.
func begins(signs []byte, i int) bool {
	for i--; i >= 0; i-- {
		switch signs[i] {
		case '/':
			return true
		case '{':
		case ',':
			for depth := 1; depth > 0; { // to the brace before the alternatives
				i--
				switch signs[i] {
				case '{':
					depth--
				case '}':
					depth++
				}
			}
		default:
			return false
		}
	}
	return true
}

// ends reports whether a component ends before i.
func ends(signs []byte, i int) bool {
	for ; i < len(signs); i++ {
		switch signs[i] {
		case '/':
			return true
		case '}':
		case ',':
			for depth := 1; depth > 0 && i < len(signs)-1; { // to the brace after the alternatives
				i++
				switch signs[i] {
				case '{':
					depth++
				case '}':
					depth--
				}
			}
		default:
			return false
		}
	}
	return true
}
