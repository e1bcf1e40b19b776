
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'idx' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'idx'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'idx' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('dump', 'dump', [CompletionResultType]::ParameterValue, 'Show what is physically in index files, field by field')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show a mailbox as Dovecot would present it: index plus logs replayed')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Write the man pages of idx and of every verb into a directory')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Show the man page of idx or of a verb')
            break
        }
        'idx;dump' {
            [CompletionResult]::new('--section', '--section', [CompletionResultType]::ParameterName, 'Only these sections')
            [CompletionResult]::new('--uid', '--uid', [CompletionResultType]::ParameterName, 'Only records of these messages')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most N records of each file')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Read the files as this kind, whatever they look like')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('--hex', '--hex', [CompletionResultType]::ParameterName, 'Name and show every byte')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;show' {
            [CompletionResult]::new('--uid', '--uid', [CompletionResultType]::ParameterName, 'Only these messages')
            [CompletionResult]::new('--at', '--at', [CompletionResultType]::ParameterName, 'The mailbox as it was at a log position SEQ:OFFSET, or when its highest modseq was N (modseq:N)')
            [CompletionResult]::new('--pvt', '--pvt', [CompletionResultType]::ParameterName, 'Directory of the private index with the user''s own flags')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;completions' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;man' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;help' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
