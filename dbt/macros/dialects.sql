{# What DuckDB and Trino write differently. Models use these and nothing else of one engine. #}

{% macro utc_day(moment) -%}
    cast({{ moment }} at time zone 'UTC' as date)
{%- endmacro %}

{% macro utc_hour(moment) -%}
    cast(date_trunc('hour', {{ moment }} at time zone 'UTC') as {{ timestamp_type() }})
{%- endmacro %}

{# Iceberg's timestamps have six digits, Trino's three unless it is told. #}
{% macro timestamp_type() -%}
    {{ return(adapter.dispatch('timestamp_type')()) }}
{%- endmacro %}
{% macro default__timestamp_type() -%}
    timestamp(6)
{%- endmacro %}
{% macro duckdb__timestamp_type() -%}
    timestamp
{%- endmacro %}

{% macro list_length(list) -%}
    {{ return(adapter.dispatch('list_length')(list)) }}
{%- endmacro %}
{% macro default__list_length(list) -%}
    cast(cardinality({{ list }}) as bigint)
{%- endmacro %}
{% macro duckdb__list_length(list) -%}
    cast(len({{ list }}) as bigint)
{%- endmacro %}

{% macro is_json_object(text) -%}
    {{ return(adapter.dispatch('is_json_object')(text)) }}
{%- endmacro %}
{% macro default__is_json_object(text) -%}
    coalesce(starts_with(try(json_format(json_parse({{ text }}))), '{'), false)
{%- endmacro %}
{% macro duckdb__is_json_object(text) -%}
    (json_valid({{ text }}) and starts_with(ltrim({{ text }}), '{'))
{%- endmacro %}

{% macro hash_text(text) -%}
    {{ return(adapter.dispatch('hash_text')(text)) }}
{%- endmacro %}
{% macro default__hash_text(text) -%}
    lower(to_hex(md5(to_utf8({{ text }}))))
{%- endmacro %}
{% macro duckdb__hash_text(text) -%}
    md5({{ text }})
{%- endmacro %}

{#
    A row for each struct of the list column `list` of `relation`: the columns `keys`, then those of
    the struct, all of which `fields` names in their order, then its place in the list, from 1.
#}
{% macro unnest_structs(relation, list, keys, fields) -%}
    {{ return(adapter.dispatch('unnest_structs')(relation, list, keys, fields)) }}
{%- endmacro %}
{% macro default__unnest_structs(relation, list, keys, fields) -%}
    select
        {{ keys | join(', ') }},
        item.{{ fields | join(', item.') }},
        item.item_number
    from {{ relation }}
    cross join unnest({{ list }}) with ordinality as item ({{ fields | join(', ') }}, item_number)
{%- endmacro %}
{% macro duckdb__unnest_structs(relation, list, keys, fields) -%}
    select
        {{ keys | join(', ') }},
        item.{{ fields | join(', item.') }},
        item_number
    from (
        select
            {{ keys | join(', ') }},
            unnest({{ list }}) as item,
            generate_subscripts({{ list }}, 1) as item_number
        from {{ relation }}
    ) as unnested
{%- endmacro %}

{# A row for each value of the list column `list` of `relation`: the columns `keys`, then `value`. #}
{% macro unnest_values(relation, list, keys, value) -%}
    {{ return(adapter.dispatch('unnest_values')(relation, list, keys, value)) }}
{%- endmacro %}
{% macro default__unnest_values(relation, list, keys, value) -%}
    select
        {{ keys | join(', ') }},
        item.{{ value }}
    from {{ relation }}
    cross join unnest({{ list }}) as item ({{ value }})
{%- endmacro %}
{% macro duckdb__unnest_values(relation, list, keys, value) -%}
    select
        {{ keys | join(', ') }},
        unnest({{ list }}) as {{ value }}
    from {{ relation }}
{%- endmacro %}
