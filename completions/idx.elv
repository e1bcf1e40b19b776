
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
            cand check 'Check index files for damage; silent when all is well'
            cand dump 'Show what is physically in index files, field by field'
            cand log 'Show the history of a mailbox: every record of .log.2 and .log, in order, and when it was written'
            cand show 'Show a mailbox as Dovecot would present it: index plus logs replayed'
            cand modseq 'Show modseqs: the highest, each file''s, each message''s, and the log position one stands for'
            cand expunges 'List expunged messages: which, when, asked for by whom, and how far back the logs know'
            cand qresync 'Say what a server must answer to SELECT (QRESYNC (V M ...))'
            cand rebuild 'Write a new dovecot.index from the logs, on the best base that survives'
            cand undo 'Put back, byte for byte, what the last rebuild of a mailbox replaced'
            cand scan 'List every mailbox below a directory: name, user, storage format, counts, sizes, state'
            cand simulate 'Simulate log rotation and what it means for QRESYNC clients'
            cand completions 'Print a completion script for a shell'
            cand man 'Write the man pages of idx and of every verb into a directory'
            cand help 'Show the man page of idx or of a verb'
        }
        &'idx;check'= {
            cand -j 'Threads that read mailboxes [default: one per processor]'
            cand --jobs 'Threads that read mailboxes [default: one per processor]'
            cand --fail-on 'What makes the exit code 1'
            cand --prometheus 'Write metrics to FILE for the textfile collector of Prometheus'' node exporter'
            cand --max-log-size 'Warn of logs larger than this (bytes, or with k, M, G)'
            cand --max-cache-size 'Warn of caches larger than this'
            cand --min-window 'Warn of logs that reach back less than this (seconds, or with m, h, d, w)'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -v 'Also show what Dovecot does about each finding, the remedy, and what is merely worth knowing'
            cand --verbose 'Also show what Dovecot does about each finding, the remedy, and what is merely worth knowing'
            cand --deep 'Also check against the mail storage: Maildir, sdbox and mdbox files, the mailbox list, private flags'
            cand --nagios 'Print one line as a Nagios plugin does, and exit with 0 (OK) to 3 (UNKNOWN)'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
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
        &'idx;log'= {
            cand --uid 'Only records that name these messages, told as their life'
            cand --type 'Only these record types, such as append, flag-update, expunge-guid'
            cand --modseq 'Only records after which the modseq is N, or from A to B; either may be left out'
            cand --position 'Only records that begin at or between these log positions; either may be left out'
            cand --since 'Only what may have been written since: UNIX seconds, RFC 3339, a date, "3d ago"'
            cand --until 'Only what may have been written until then'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand --stats 'Count records and bytes by type, by origin and by hour'
            cand --follow 'Go on with what is written from now on, across rotations, until interrupted'
            cand --evidence 'Say which clocks gave the times'
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
        &'idx;modseq'= {
            cand --uid 'Only these messages'
            cand --locate 'The log position that a modseq stands for, and how QRESYNC with it is answered'
            cand --decode 'Take a number apart: a count of changes, or a log position as in snapshots of 2008'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand --history 'Every step of the modseq, one line each'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;expunges'= {
            cand --since 'What a client has not seen that knows this modseq, or what may have happened since this time'
            cand --uid 'Only these messages'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;qresync'= {
            cand --uidvalidity 'The UIDVALIDITY the client knows'
            cand --modseq 'The HIGHESTMODSEQ the client knows'
            cand --known 'The UIDs the client knows; all when not given'
            cand --seq-match 'Sequence numbers and UIDs of some messages the client knows'
            cand --versus 'A recorded IMAP session to compare; what the client sent then stands in for options not given'
            cand --pvt 'Directory of the private index with the user''s own flags'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;rebuild'= {
            cand -o 'Write the resulting files to DIR and touch nothing here; needs no lock'
            cand --output 'Write the resulting files to DIR and touch nothing here; needs no lock'
            cand --base 'What to build on'
            cand --lock-method 'Dovecot''s setting lock_method'
            cand --lock-timeout 'How long to wait for the lock, such as 30, 500ms, 2m'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -n 'Only say what would be done; needs no lock'
            cand --dry-run 'Only say what would be done; needs no lock'
            cand --accept-loss 'Go on although messages, flags or history are lost; exit code 1'
            cand --no-undo 'Save nothing: the rebuild cannot be undone'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;undo'= {
            cand --lock-method 'Dovecot''s setting lock_method'
            cand --lock-timeout 'How long to wait for the lock, such as 30, 500ms, 2m'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand --force 'Do it although something has been written since the rebuild; that is lost then'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;scan'= {
            cand -j 'Threads that read mailboxes [default: one per processor]'
            cand --jobs 'Threads that read mailboxes [default: one per processor]'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -a 'Also list the indexes of mailbox lists, mdbox maps and private flags, and caches kept apart'
            cand --all 'Also list the indexes of mailbox lists, mdbox maps and private flags, and caches kept apart'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'idx;simulate'= {
            cand --worst 'Of many mailboxes, show the N worst in the table; 0 shows all'
            cand -j 'Threads that read mailboxes [default: one per processor]'
            cand --jobs 'Threads that read mailboxes [default: one per processor]'
            cand --trace 'Recorded events, one JSON object a line: {"at":SECONDS,"bytes":N,"modseq":M,"expunged":"SET"|null,"sync":BOOL}'
            cand --appends-per-day 'Messages that arrive in a day'
            cand --flags-per-day 'Flag changes in a day'
            cand --expunges-per-day 'Messages expunged in a day'
            cand --sync-every 'Time between full syncs; without it each command ends with one'
            cand --pattern 'Rhythm of day and week (UTC): even, office, or a FILE with 24 or 168 weights, one for each hour from Monday on'
            cand --burst 'Commands that come at once'
            cand --messages 'Messages in the mailbox at the start'
            cand --seed 'Start of the random numbers'
            cand --storage 'Storage format, which decides how many bytes of log a command takes'
            cand --for 'How long to simulate [default: 30 days, or four times --want]'
            cand --now 'The present [default: now; 2026-01-05 for traffic without a mailbox]'
            cand --config 'Output of doveconf -n, or a dovecot.conf, of 2.3 or 2.4'
            cand --dovecot 'Whose rules and defaults'
            cand --log-rotate-min-size 'mail_index_log_rotate_min_size'
            cand --log-rotate-max-size 'mail_index_log_rotate_max_size'
            cand --log-rotate-min-age 'mail_index_log_rotate_min_age'
            cand --log2-max-age 'mail_index_log2_max_age'
            cand --offline 'Clients that were away for these times'
            cand --clients 'Number of clients'
            cand --gaps 'How long clients stay away, each with its weight'
            cand --want 'Find the cheapest settings that keep this window'
            cand --share 'Share of the time that it shall be kept'
            cand --mailboxes 'Of many mailboxes, share of those that shall keep it; one set of settings is for all'
            cand --plot 'Draw the window over time, or the windows of many mailboxes, and the answers by time away'
            cand -f 'How to print results'
            cand --format 'How to print results'
            cand --color 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured'
            cand --mmap 'When to map files into memory instead of copying them'
            cand -r 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir'
            cand --recursive 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir'
            cand --tree 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir'
            cand --replay 'Repeat the mailbox''s own past: its records, sizes and rhythm (the default with a PATH)'
            cand --synthetic 'Made-up traffic, by rates'
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
