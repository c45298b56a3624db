{#
    Models by day are built for the UTC days from the variable `first_day` to `last_day`, both
    included; their other days stay as they are. Without the variables, or with --full-refresh,
    they are built for all days, and the result is the same.
#}

{#
    Whether a row's moment is in the days to build, or up to `around` days beside them: for rows
    that are joined, since what belongs to one request may lie on two sides of a midnight.
#}
{% macro is_built(moment, around=0) -%}
    {%- if has_built_days() and is_incremental() -%}
        {{ in_built_days(moment, around) }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{% macro has_built_days() -%}
    {{ return(var('first_day', none) is not none and var('last_day', none) is not none) }}
{%- endmacro %}

{# Of the moment itself rather than of its day: so that engines skip files by their statistics. #}
{% macro in_built_days(moment, around=0) -%}
    ({{ moment }} >= {{ day_start(var('first_day'), -around) }}
        and {{ moment }} < {{ day_start(var('last_day'), around + 1) }})
{%- endmacro %}

{% macro day_start(day, days_later) -%}
    {%- set start = modules.datetime.date.fromisoformat(day) + modules.datetime.timedelta(days=days_later) -%}
    cast('{{ start.isoformat() }} 00:00:00 UTC' as timestamp with time zone)
{%- endmacro %}

{# Whether two days are at most one apart, as are those of one request's events. #}
{% macro is_adjacent(day, other_day) -%}
    {{ day }} between {{ other_day }} - interval '1' day and {{ other_day }} + interval '1' day
{%- endmacro %}

{#
    The incremental strategy `replace_days`: what the model has of the days goes, whether or not
    the days still have rows, and what was selected comes.
#}
{% macro get_incremental_replace_days_sql(arguments) -%}
    {%- set columns = get_quoted_csv(arguments['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arguments['target_relation'] }}
    {%- if has_built_days() %}
    where day between date '{{ var('first_day') }}' and date '{{ var('last_day') }}'
    {%- endif %};
    insert into {{ arguments['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arguments['temp_relation'] }}
{%- endmacro %}

{# In a test's `where`, `built_days(moment)` has the test look at the days that are built alone. #}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') or '' -%}
    {%- set moment = modules.re.fullmatch('built_days\\((\\w+)\\)', where) -%}
    {%- if moment and has_built_days() -%}
        {%- do return('(select * from ' ~ relation ~ ' where ' ~ in_built_days(moment.group(1)) ~ ') built') -%}
    {%- elif moment or not where -%}
        {%- do return(relation) -%}
    {%- else -%}
        {%- do return('(select * from ' ~ relation ~ ' where ' ~ where ~ ') filtered') -%}
    {%- endif -%}
{%- endmacro %}
