
use builtin;
use str;

set edit:completion:arg-completer[idx] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'idx'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'idx'= {
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand dump 'Show what is physically in index files, field by field'
            cand show 'Show a mailbox as Dovecot would present it: index plus logs replayed'
            cand completions 'Print a completion script for a shell'
            cand man 'Write the man pages of idx and of every verb into a directory'
            cand help 'Show the man page of idx or of a verb'
        }
        &'idx;dump'= {
            cand --section 'Only these sections'
            cand --uid 'Only records of these messages'
            cand --limit 'At most N records of each file'
            cand --kind 'Read the files as this kind, whatever they look like'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand --hex 'Name and show every byte'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;show'= {
            cand --uid 'Only these messages'
            cand --at 'The mailbox as it was at a log position SEQ:OFFSET, or when its highest modseq was N (modseq:N)'
            cand --pvt 'Directory of the private index with the user''s own flags'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;completions'= {
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;man'= {
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;help'= {
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
    ]
    $completions[$command]
}
