// Package recording reads recorded answers of the real programs and compares a stand-in's answers with them.
package recording

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
)

// Exchange is one recorded request and answer. Requests are told only by files that have `>>>` lines.
type Exchange struct {
	Name    string
	Method  string      // from `>>> METHOD URL`, else empty
	URL     string      // as above
	Request http.Header // further `>>> Name: value` lines
	Body    string      // of the request: `>>> body: …`
	Status  int         // 0: the connection was closed without an answer
	Header  http.Header
	Answer  string // the body of the answer
}

var heading = regexp.MustCompile(`(?m)^=== (.+)$`)

// Load reads a file of `=== NAME` blocks in order.
func Load(path string) ([]Exchange, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(string(content))
}

// Parse reads the text of such a file.
func Parse(text string) ([]Exchange, error) {
	marks := heading.FindAllStringSubmatchIndex(text, -1)
	exchanges := make([]Exchange, 0, len(marks))
	for i, mark := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		exchange, err := parseBlock(text[mark[2]:mark[3]], text[mark[1]:end])
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", text[mark[2]:mark[3]], err)
		}
		exchanges = append(exchanges, exchange)
	}
	return exchanges, nil
}

// ByName finds a block.
func ByName(exchanges []Exchange, name string) (Exchange, bool) {
	for _, exchange := range exchanges {
		if exchange.Name == name {
			return exchange, true
		}
	}
	return Exchange{}, false
}

func parseBlock(name, text string) (Exchange, error) {
	exchange := Exchange{Name: strings.TrimSpace(name), Header: http.Header{}, Request: http.Header{}}
	var rest []string
	for _, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if asked, ok := strings.CutPrefix(line, ">>> "); ok {
			exchange.asked(asked)
		} else if !strings.HasPrefix(line, "<<< ") {
			rest = append(rest, line)
		}
	}
	reader := bufio.NewReader(strings.NewReader(strings.TrimLeft(strings.Join(rest, "\n"), "\n")))
	first, _ := reader.ReadString('\n')
	if strings.TrimSpace(first) == "" {
		return exchange, nil
	}
	if _, err := fmt.Sscanf(first, "HTTP/1.1 %d", &exchange.Status); err != nil {
		return exchange, fmt.Errorf("no status line in %q", first)
	}
	for {
		line, err := reader.ReadString('\n')
		key, value, isHeader := strings.Cut(strings.TrimSpace(line), ":")
		if !isHeader {
			break
		}
		exchange.Header.Add(key, strings.TrimSpace(value))
		if err != nil {
			break
		}
	}
	var body strings.Builder
	_, _ = reader.WriteTo(&body)
	exchange.Answer = strings.TrimRight(body.String(), "\n")
	return exchange, nil
}

func (e *Exchange) asked(line string) {
	if body, ok := strings.CutPrefix(line, "body: "); ok {
		e.Body = body
		return
	}
	if strings.HasPrefix(line, "sent at ") {
		return
	}
	if key, value, isHeader := strings.Cut(line, ": "); isHeader && !strings.Contains(key, " ") {
		e.Request.Add(key, value)
		return
	}
	if e.Method == "" {
		e.Method, e.URL, _ = strings.Cut(line, " ")
	}
}
