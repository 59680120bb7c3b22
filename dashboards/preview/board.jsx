// Draws one dashboard from window.PREVIEW: {board, answers, spans, from, to, width, dark}; times in milliseconds.
//
// Values, units, colours, thresholds, mappings and transformations are Grafana's own (@grafana/data), and so are stats,
// bar gauges, time series and the frames of panels (@grafana/ui). State timelines, bar charts and tables exist only
// inside Grafana itself: they are drawn here with Grafana's processors of values. `answers` has a list of frames for
// each id of a panel; preview.py makes them from the answers of the data source.
import {
  FieldType, Registry, ThemeContext, applyFieldOverrides, createTheme, dateTime, formattedValueToString,
  getFieldDisplayName, getFieldDisplayValues, identityOverrideProcessor, setTimeZoneResolver, standardTransformers,
  standardTransformersRegistry, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, PanelChrome, VizRepeater } from '@grafana/ui';
import { Component, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import 'uplot/dist/uPlot.min.css';
import { TimeSeries } from './node_modules/@grafana/ui/dist/esm/graveyard/TimeSeries/TimeSeries.mjs';

const { board, answers, spans, from, to, width, dark } = window.PREVIEW;
const COLUMN = width / 24;
const ROW = 38; // Grafana's height of a grid unit with its gap, in pixels
const GAP = 8;
const ZONE = 'utc';
const theme = createTheme({ colors: { mode: dark ? 'dark' : 'light' } });
setTimeZoneResolver(() => ZONE);

standardTransformersRegistry.setInit(() => {
  const known = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
  return [...known.values()].map((one) => ({
    id: one.id, name: one.name, description: '', editor: () => null, transformation: async () => one,
  }));
});

/** Every option that the panels of a board set, by default or for a field; each is taken as it is. */
function registryOf(panels) {
  const configs = panels.flatMap((panel) => panel.fieldConfig ?? []);
  const set = configs.flatMap(({ defaults, overrides }) => [
    ...Object.keys(defaults ?? {}).filter((id) => id !== 'custom').map((id) => ({ id })),
    ...Object.keys(defaults?.custom ?? {}).map((id) => ({ id: `custom.${id}` })),
    ...(overrides ?? []).flatMap((one) => one.properties),
  ]);
  const items = [...new Set(set.map((one) => one.id))].map((id) => {
    const isCustom = id.startsWith('custom.');
    return {
      id, name: id, isCustom, path: isCustom ? id.slice('custom.'.length) : id,
      process: identityOverrideProcessor, shouldApply: () => true, getItemsCount: () => 0,
    };
  });
  return new Registry(() => items);
}

const panels = board.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
const registry = registryOf(panels);

const rangeOf = (panel) => [spans[panel.id] ? to - spans[panel.id] : from, to];

function displayValues(panel, data, sparkline) {
  return getFieldDisplayValues({
    data, sparkline, theme, timeZone: ZONE, fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions, replaceVariables: (text) => text,
  });
}

function Stat({ panel, data, width, height }) {
  const { options } = panel;
  const values = displayValues(panel, data, options.graphMode !== 'none');
  const textMode = options.textMode === 'auto' && values.length > 1 ? 'value_and_name' : options.textMode;
  const shown = ({ value, width, height, count }) => (
    <BigValue value={value.display} sparkline={value.sparkline} count={count} width={width} height={height}
      colorMode={options.colorMode} graphMode={options.graphMode} justifyMode={options.justifyMode}
      textMode={textMode} wideLayout={options.wideLayout} text={options.text} theme={theme} />
  );
  return <VizRepeater source={values} getValues={() => values} width={width} height={height} autoGrid
    itemSpacing={3} orientation={options.orientation} renderValue={shown} />;
}

function Gauges({ panel, data, width, height }) {
  const { options } = panel;
  const values = displayValues(panel, data, false);
  const shown = ({ value, width, height, orientation }) => (
    <BarGauge value={value.display} field={value.field} text={options.text} width={width} height={height}
      orientation={orientation} displayMode={options.displayMode} valueDisplayMode={options.valueMode}
      namePlacement={options.namePlacement} showUnfilled={options.showUnfilled} itemSpacing={10} theme={theme} />
  );
  return <VizRepeater source={values} getValues={() => values} width={width} height={height} itemSpacing={10}
    minVizHeight={options.minVizHeight} orientation={options.orientation} renderValue={shown} />;
}

function Lines({ panel, data, width, height }) {
  const [begin, end] = rangeOf(panel).map((at) => dateTime(at));
  return <TimeSeries frames={data} structureRev={1} width={width} height={height} timeZone={[ZONE]}
    timeRange={{ from: begin, to: end, raw: { from: begin, to: end } }}
    legend={panel.options.legend} options={panel.options} />;
}

const clipped = (text, pixels) => (text.length * 7 > pixels ? `${text.slice(0, Math.max(1, pixels / 7 - 1))}…` : text);

/** Neighbouring equal values are one block; a block ends with the next value, or one step after the last. */
function blocks(frame, merge) {
  const [times, values] = frame.fields.map((field) => [...field.values]);
  const found = [];
  times.forEach((begin, at) => {
    if (values[at] == null) return;
    const end = times[at + 1] ?? Math.min(to, begin + (frame.meta?.custom?.step ?? 60) * 1000);
    const before = found.at(-1);
    if (merge && before?.value === values[at] && before.end === begin) before.end = end;
    else found.push({ value: values[at], begin, end });
  });
  return found;
}

function hours(begin, end, count) {
  const format = end - begin > 3 * 86400e3 ? 'MM-DD' : 'HH:mm';
  return Array.from({ length: count }, (_, n) => begin + ((end - begin) * n) / count)
    .map((at) => [at, dateTime(at).utc().format(format)]);
}

function Timeline({ panel, data, width, height }) {
  const [begin, end] = rangeOf(panel);
  const left = Math.min(200, width * 0.25);
  const axis = panel.options.legend.showLegend ? height - 26 : height;
  const rowHeight = (axis - 20) / Math.max(1, data.length);
  const x = (at) => left + ((Math.min(Math.max(at, begin), end) - begin) / (end - begin)) * (width - left - 6);
  const opacity = (panel.fieldConfig.defaults.custom?.fillOpacity ?? 70) / 100;
  return (
    <svg width={width} height={height} fontSize={12}>
      {data.map((frame, row) => {
        const [, field] = frame.fields;
        const thick = rowHeight * (panel.options.rowHeight ?? 0.9);
        const y = row * rowHeight + (rowHeight - thick) / 2;
        return (
          <g key={row}>
            <text x={left - 6} y={y + thick / 2 + 4} textAnchor="end" fill={theme.colors.text.primary}>
              {clipped(getFieldDisplayName(field, frame, data), left - 6)}
            </text>
            {blocks(frame, panel.options.mergeValues !== false).map((block) => {
              const display = field.display(block.value);
              const wide = Math.max(1, x(block.end) - x(block.begin));
              const text = formattedValueToString(display);
              const fits = wide > text.length * 7 + 6 && thick > 12 && panel.options.showValue !== 'never';
              return (
                <g key={block.begin}>
                  <rect x={x(block.begin)} y={y} width={wide} height={thick} fill={display.color} fillOpacity={opacity} />
                  {fits && <text x={x(block.begin) + 4} y={y + thick / 2 + 4}
                    fill={theme.colors.getContrastText(display.color)}>{text}</text>}
                </g>
              );
            })}
          </g>
        );
      })}
      {hours(begin, end, 6).map(([at, text]) => (
        <text key={at} x={x(at)} y={axis - 4} fill={theme.colors.text.secondary}>{text}</text>
      ))}
      {axis < height && legend(data).map(({ color, text, left }) => (
        <g key={text} transform={`translate(${left}, ${height - 8})`}>
          <rect y={-6} width={14} height={4} rx={2} fill={color} />
          <text x={18} fill={theme.colors.text.primary}>{text}</text>
        </g>
      ))}
    </svg>
  );
}

/** The words of the values of all lanes with their colours, from left to right. */
function legend(lanes) {
  const values = lanes.flatMap(({ fields: [, field] }) => field.values.map((value) => field.display(value)));
  const colors = new Map(values.filter(({ text }) => text).map(({ text, color }) => [text, color]));
  let next = 6;
  return [...colors].map(([text, color]) => {
    const left = next;
    next += text.length * 7 + 34;
    return { color, text, left };
  });
}

function Bars({ panel, data, width, height }) {
  const [frame] = data;
  const numbers = frame.fields.filter((field) => field.type === FieldType.number);
  const names = frame.fields.find((field) => field.type !== FieldType.number);
  const stacked = panel.options.stacking === 'normal';
  const total = (row) => numbers.map((field) => field.values[row] ?? 0);
  const rows = [...names.values].map((name, row) => ({ name, values: total(row) }));
  const sum = (values) => (stacked ? values.reduce((a, b) => a + b, 0) : Math.max(...values));
  const highest = Math.max(1e-9, ...rows.map(({ values }) => sum(values)));
  const horizontal = panel.options.orientation === 'horizontal';
  const [along, left] = horizontal ? [width - 245, 150] : [height - 44, 8];
  const thick = (horizontal ? height : width - left) / Math.max(1, rows.length);
  const named = names.display ? (value) => formattedValueToString(names.display(value)) : String;
  const every = horizontal ? 1 : Math.ceil(rows.length / Math.max(1, Math.floor((width - left) / 46)));
  return (
    <svg width={width} height={height} fontSize={12} fill={theme.colors.text.primary}>
      {rows.map(({ name, values }, row) => {
        let done = 0;
        const lane = stacked ? thick * 0.8 : (thick * 0.8) / numbers.length;
        const at = (horizontal ? 0 : left) + row * thick + thick * 0.1;
        return (
          <g key={row}>
            {values.map((value, which) => {
              const long = (value / highest) * along;
              const across = at + (stacked ? 0 : which * lane);
              const color = numbers[which].display(value).color;
              const box = horizontal
                ? { x: left + done, y: across, width: long, height: lane }
                : { x: across, y: height - 22 - done - long, width: lane, height: long };
              if (stacked) done += long;
              return <rect key={which} {...box} fill={color} fillOpacity={0.8} />;
            })}
            {horizontal
              ? <text x={left - 6} y={at + thick * 0.4 + 4} textAnchor="end">{clipped(named(name), left - 6)}</text>
              : row % every === 0 && <text x={at + thick * 0.4} y={height - 6} textAnchor="middle">{named(name)}</text>}
            {(horizontal || thick > 40) && (
              <text x={horizontal ? left + (sum(values) / highest) * along + 5 : at + thick * 0.4}
                y={horizontal ? at + thick * 0.4 + 4 : height - 26 - (sum(values) / highest) * along}
                textAnchor={horizontal ? 'start' : 'middle'}>
                {formattedValueToString(numbers[0].display(sum(values)))}
              </text>
            )}
          </g>
        );
      })}
    </svg>
  );
}

function Rows({ panel, data, height }) {
  const [frame] = data;
  const fields = frame.fields.filter(({ config }) => !config.custom?.hidden && !config.custom?.hideFrom?.viz);
  const title = (field) => getFieldDisplayName(field, frame, data);
  const order = [...Array(frame.length).keys()];
  const [sort] = panel.options.sortBy ?? [];
  const by = sort && frame.fields.find((field) => title(field) === sort.displayName);
  if (by) order.sort((a, b) => (by.values[a] > by.values[b] ? 1 : -1) * (sort.desc ? -1 : 1));
  const align = ({ config, type }) => {
    const set = config.custom?.align ?? 'auto';
    return set !== 'auto' ? set : type === FieldType.number ? 'right' : 'left';
  };
  const style = (field, display) => {
    const base = { padding: '7px 6px', textAlign: align(field), whiteSpace: 'nowrap' };
    const kind = field.config.custom?.cellOptions?.type;
    if (kind === 'color-background') return { ...base, background: display.color, color: theme.colors.getContrastText(display.color) };
    return kind === 'color-text' ? { ...base, color: display.color } : base;
  };
  return (
    <div style={{ height, overflow: 'hidden' }}>
      <table style={{ width: '100%', borderCollapse: 'collapse', fontSize: 14 }}>
        <thead><tr>{fields.map((field, n) => (
          <th key={n} style={{ padding: 6, textAlign: align(field), fontWeight: 500, color: theme.colors.primary.text }}>
            {title(field)}
          </th>))}</tr></thead>
        <tbody>{order.slice(0, Math.floor(height / 34) + 1).map((row) => (
          <tr key={row} style={{ borderTop: `1px solid ${theme.colors.border.weak}` }}>{fields.map((field, n) => {
            const value = field.values[row];
            const display = field.display ? field.display(value) : { text: String(value ?? '') };
            return <td key={n} style={style(field, display)}>{value == null ? '' : formattedValueToString(display)}</td>;
          })}</tr>))}</tbody>
      </table>
    </div>
  );
}

const VIEWS = { stat: Stat, bargauge: Gauges, timeseries: Lines, 'state-timeline': Timeline, barchart: Bars, table: Rows };

function Content({ panel, data, width, height }) {
  if (panel.type === 'text') return <div style={{ padding: 8, whiteSpace: 'pre-wrap' }}>{panel.options.content}</div>;
  if (!data.some((frame) => frame.length)) {
    const large = panel.type === 'stat' ? Math.min(height * 0.4, 36) : 14;
    const text = panel.fieldConfig.defaults.noValue ?? 'No data';
    return <div style={{ display: 'grid', placeItems: 'center', height, fontSize: large }}>{text}</div>;
  }
  const View = VIEWS[panel.type];
  return <View panel={panel} data={data} width={width} height={height} />;
}

function Panel({ panel }) {
  const [data, setData] = useState(null);
  useEffect(() => {
    const finish = (frames) => setData(applyFieldOverrides({
      data: frames, theme, timeZone: ZONE, fieldConfig: panel.fieldConfig, fieldConfigRegistry: registry,
      replaceVariables: (text) => text,
    }));
    const raw = (answers[panel.id] ?? []).map((frame) => toDataFrame(frame));
    const done = transformDataFrame(panel.transformations ?? [], raw, { interpolate: (text) => text })
      .subscribe({ next: finish, error: (error) => { throw error; } });
    return () => done.unsubscribe();
  }, [panel]);
  const { x, y, w, h } = panel.gridPos;
  const title = panel.timeFrom && !panel.hideTimeOverride ? `${panel.title}   Last ${panel.timeFrom}` : panel.title;
  return (
    <div style={{ position: 'absolute', left: x * COLUMN, top: y * ROW, width: w * COLUMN - GAP }} data-panel={panel.title}>
      <PanelChrome title={title} description={panel.description} width={w * COLUMN - GAP} height={h * ROW - GAP}
        padding={panel.type === 'stat' ? 'none' : 'md'}>
        {(width, height) => data && <Content panel={panel} data={data} width={width} height={height} />}
      </PanelChrome>
    </div>
  );
}

/** A panel that cannot be drawn is a red text, and preview.py fails. */
class Guard extends Component {
  state = {};

  static getDerivedStateFromError(error) { return { error }; }

  render() {
    if (!this.state.error) return this.props.children;
    const { x, y } = this.props.panel.gridPos;
    const place = { position: 'absolute', left: x * COLUMN, top: y * ROW, color: 'red' };
    return <div style={place} data-error={this.props.panel.title}>{String(this.state.error)}</div>;
  }
}

const Row = ({ panel }) => (
  <div style={{ position: 'absolute', left: 4, top: panel.gridPos.y * ROW + 8, fontSize: 16, fontWeight: 500 }}>
    {panel.collapsed ? '›' : '⌄'} {panel.title}
  </div>
);

const Board = () => (
  <ThemeContext.Provider value={theme}>
    {board.panels.map((panel) => (
      panel.type === 'row'
        ? <Row key={panel.id} panel={panel} />
        : <Guard key={panel.id} panel={panel}><Panel panel={panel} /></Guard>
    ))}
  </ThemeContext.Provider>
);

// Grafana's own style sheet, of which only this shows.
const style = document.head.appendChild(document.createElement('style'));
style.textContent = 'button { color: inherit; background: none; border: 0; font: inherit }';
Object.assign(document.body.style, {
  margin: '8px', position: 'relative', font: '14px Inter, "Liberation Sans", sans-serif',
  background: theme.colors.background.canvas, color: theme.colors.text.primary,
});
createRoot(document.getElementById('root')).render(<Board />);
